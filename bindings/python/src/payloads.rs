//! Payloads: Python objects outside, JSON inside.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{IntoPyDict, PyByteArray, PyBytes, PyDict, PyString};

use crate::error::invalid;

type Object = serde_json::Map<String, serde_json::Value>;

/// Payloads of rows as the engine takes them: JSON, `None` for a row without.
///
/// `values` gives one a row: `None`, JSON as str or bytes, or anything that Python's `json` can
/// write.
///
/// # Errors
/// `TypeError` for what `json` cannot write, `InvalidInput` for a wrong number, for NaN and for text
/// that is not Unicode. Whether text is JSON the engine checks.
pub(crate) fn written(values: &Bound<'_, PyAny>, rows: usize) -> PyResult<Vec<Option<String>>> {
    let single = values.is_instance_of::<PyDict>() || is_text(values);
    let iterator = match values.try_iter() {
        Ok(iterator) if !single => iterator,
        _ => {
            let found = values.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "payloads must be a list with a dict or None for each row, not {found}"
            )));
        }
    };
    let mut written = Vec::with_capacity(rows);
    for value in iterator {
        let row = written.len();
        // An iterator need not end.
        if row == rows {
            return Err(invalid(format!("more payloads than the {rows} rows")));
        }
        let payload = payload(&value?).map_err(|error| at(row, error, values.py()))?;
        written.push(payload);
    }
    if written.len() < rows {
        return Err(invalid(format!(
            "{} payloads for {rows} rows: give None for a row without",
            written.len()
        )));
    }
    Ok(written)
}

/// Refuses payloads that are no objects: to those of pictures something is added.
///
/// # Errors
/// `InvalidInput`.
pub(crate) fn check_objects(payloads: &[Option<String>]) -> PyResult<()> {
    for (row, payload) in payloads.iter().enumerate() {
        let object = payload.as_deref().map(serde_json::from_str::<Object>);
        if let Some(Err(error)) = object {
            return Err(invalid(format!(
                "payloads[{row}] must be a dict, or JSON of an object: {error}"
            )));
        }
    }
    Ok(())
}

/// The payload of a picture, with the path that it came from unless it names one itself.
pub(crate) fn with_source(payload: Option<String>, path: Option<&str>) -> Option<String> {
    let Some(path) = path else { return payload };
    let Ok(mut object) = serde_json::from_str::<Object>(payload.as_deref().unwrap_or("{}")) else {
        // The engine says what is wrong.
        return payload;
    };
    object.entry("source").or_insert_with(|| path.into());
    Some(serde_json::Value::Object(object).to_string())
}

/// JSON as the engine takes it.
pub(crate) fn borrowed(payloads: &[Option<String>]) -> Vec<Option<&str>> {
    payloads.iter().map(Option::as_deref).collect()
}

fn payload(value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if value.is_none() {
        return Ok(None);
    }
    if value.is_instance_of::<PyString>() {
        return value.extract().map(Some);
    }
    if is_text(value) {
        let text = String::from_utf8(value.extract()?);
        return text.map(Some).map_err(|error| invalid(error.to_string()));
    }
    encoder(value.py())?.call1((value,))?.extract().map(Some)
}

fn is_text(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
}

/// Says which payload was wrong, where the message alone would not.
fn at(row: usize, error: PyErr, py: Python<'_>) -> PyErr {
    let message = format!("payloads[{row}]: {}", error.value(py));
    let told = if error.is_instance_of::<PyTypeError>(py) {
        PyTypeError::new_err(message)
    } else if error.is_instance_of::<PyValueError>(py) {
        invalid(message)
    } else {
        return error;
    };
    told.set_cause(py, Some(error));
    told
}

/// `json.JSONEncoder(...).encode`; JSON has no NaN.
fn encoder(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let encode = ENCODE.get_or_try_init(py, || {
        let options = [("ensure_ascii", false), ("allow_nan", false)].into_py_dict(py)?;
        options.set_item("separators", (",", ":"))?;
        let encoder = py.import("json")?.getattr("JSONEncoder")?;
        let encoder = encoder.call((), Some(&options))?;
        Ok::<_, PyErr>(encoder.getattr("encode")?.unbind())
    })?;
    Ok(encode.bind(py))
}

/// The object that a payload stands for.
///
/// # Errors
/// Those of `json.loads`.
pub(crate) fn read<'py>(py: Python<'py>, json: &str) -> PyResult<Bound<'py, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.import(py, "json", "loads")?.call1((json,))
}

//! Arrays and numbers that Python hands over.
//!
//! Arrays are copied. The engine works while other Python threads run, and numpy lets them write
//! into an array at any time: rust-numpy's borrows bind its own users alone. A slice of such memory
//! would be undefined behaviour, and rows could change between the check of their padding bits, the
//! log and memory. The copy takes a hundredth of the time of an insert of 10,000 rows, and next to none
//! for queries. It is made while the interpreter's lock is held, so no Python code runs beside it.

use bitkin::{Budget, Durability, Filter};
use bytemuck::Pod;
use numpy::{PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyUntypedArray};
use numpy::{PyReadonlyArray, PyUntypedArrayMethods, ndarray};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDelta, PyFloat, PyString};

use crate::copied::Copied;
use crate::error::{invalid, raised};

/// Codes of one width.
pub(crate) struct Codes {
    /// Row-major, `ceil(bits / 8)` bytes a row.
    pub(crate) bytes: Copied<u8>,
    pub(crate) rows: usize,
}

/// Copies codes out of a uint8 array of shape (n, `ceil(bits / 8)`), or of one code's shape.
///
/// # Errors
/// `TypeError` for anything that is no array of uint8, `InvalidInput` for another shape.
pub(crate) fn codes(value: &Bound<'_, PyAny>, name: &str, bits: u32) -> PyResult<Codes> {
    let stride = bits.div_ceil(8) as usize;
    if let Ok(array) = value.cast::<PyArray2<u8>>()
        && array.shape()[1] == stride
    {
        let rows = array.shape()[0];
        let bytes = copied(&array.try_readonly()?);
        return Ok(Codes { bytes, rows });
    }
    if let Ok(array) = value.cast::<PyArray1<u8>>()
        && array.len() == stride
    {
        let bytes = copied(&array.try_readonly()?);
        return Ok(Codes { bytes, rows: 1 });
    }
    let wanted =
        format!("{name} of {bits} bits must be a numpy array of uint8, shape (n, {stride})");
    let Ok(array) = value.cast::<PyUntypedArray>() else {
        let found = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{wanted}, not {found}")));
    };
    let (dtype, shape) = (array.dtype(), Shape(array.shape()));
    if dtype.num() == numpy::dtype::<u8>(value.py()).num() {
        return Err(invalid(format!("{wanted}, not of shape {shape}")));
    }
    let hint = if dtype.kind() == b'b' {
        "; numpy.packbits(bits, axis=-1, bitorder='little') packs bits"
    } else {
        ""
    };
    Err(PyTypeError::new_err(format!(
        "{wanted}, not of {dtype}, shape {shape}{hint}"
    )))
}

/// All elements in the order of the last index, wherever they lie.
fn copied<T, D>(array: &PyReadonlyArray<'_, T, D>) -> Copied<T>
where
    T: numpy::Element + Pod,
    D: ndarray::Dimension,
{
    match array.as_slice() {
        // `as_slice` takes arrays of column-major order, too.
        Ok(slice) if array.is_c_contiguous() => Copied::of(slice),
        _ => array.as_array().iter().copied().collect::<Vec<T>>().into(),
    }
}

/// Copies ids out of an array of whole numbers of shape (n,), or out of anything that gives whole
/// numbers one by one.
///
/// # Errors
/// `TypeError` for anything else, `InvalidInput` for another shape and numbers that are no ids.
pub(crate) fn ids(value: &Bound<'_, PyAny>) -> PyResult<Copied<u64>> {
    if let Ok(array) = value.cast::<PyArray1<u64>>()
        && let Ok(slice) = array.try_readonly()?.as_slice()
    {
        return Ok(Copied::of(slice));
    }
    if let Ok(array) = value.cast::<PyUntypedArray>() {
        return ids_of_array(array);
    }
    let wanted = || {
        let found = value.get_type().name()?;
        Ok::<_, PyErr>(PyTypeError::new_err(format!(
            "ids must be a numpy array of uint64, shape (n,), or give whole numbers, not {found}"
        )))
    };
    let text = value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>();
    let numbers = match value.try_iter() {
        Ok(numbers) if !text => numbers,
        _ => return Err(wanted()?),
    };
    let ids = numbers
        .enumerate()
        .map(|(row, number)| whole(&number?, &format_args!("ids[{row}]")))
        .collect::<PyResult<Vec<u64>>>();
    ids.map(Copied::from)
}

/// Ids of another dtype than uint64, or with gaps between them.
fn ids_of_array(array: &Bound<'_, PyUntypedArray>) -> PyResult<Copied<u64>> {
    let shape = Shape(array.shape());
    if array.ndim() != 1 {
        return Err(invalid(format!(
            "ids must be of shape (n,), not of shape {shape}"
        )));
    }
    let wide = match array.dtype().kind() {
        // numpy makes an empty array one of floats.
        _ if array.is_empty() => return Ok(Vec::new().into()),
        b'u' => "uint64",
        b'i' => "int64",
        _ => {
            return Err(PyTypeError::new_err(format!(
                "ids must be a numpy array of uint64, shape (n,), not of {}",
                array.dtype()
            )));
        }
    };
    let array = array.call_method1("astype", (wide,))?;
    if let Ok(array) = array.cast::<PyArray1<u64>>() {
        return Ok(copied(&array.try_readonly()?));
    }
    let signed = copied(&array.cast::<PyArray1<i64>>()?.try_readonly()?);
    let number = |(row, number): (usize, i64)| {
        u64::try_from(number).map_err(|_| {
            invalid(format!(
                "ids[{row}] must be a whole number from 0 to 2**64 - 1, not {number}"
            ))
        })
    };
    let ids = signed.iter().copied().enumerate().map(number);
    ids.collect::<PyResult<Vec<u64>>>().map(Copied::from)
}

/// A whole number from 0 up.
///
/// # Errors
/// `TypeError` for what is no whole number, `InvalidInput` for one below 0 or above 2^64 - 1.
fn whole(value: &Bound<'_, PyAny>, name: &dyn std::fmt::Display) -> PyResult<u64> {
    value.extract().map_err(|error: PyErr| {
        let py = value.py();
        if error.is_instance_of::<PyOverflowError>(py) {
            return invalid(format!(
                "{name} must be a whole number from 0 to 2**64 - 1, not {value}"
            ));
        }
        match value.get_type().name() {
            Ok(found) if error.is_instance_of::<PyTypeError>(py) => {
                PyTypeError::new_err(format!("{name} must be a whole number, not {found}"))
            }
            _ => error,
        }
    })
}

/// The argument `id`.
pub(crate) fn id(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    whole(value, &"id")
}

/// The argument `k`; more than there can be rows is all of them.
pub(crate) fn k(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    Ok(usize::try_from(whole(value, &"k")?).unwrap_or(usize::MAX))
}

/// The argument `r`; more than there can be bits is as good as all of them.
pub(crate) fn radius(value: &Bound<'_, PyAny>) -> PyResult<u32> {
    Ok(u32::try_from(whole(value, &"r")?).unwrap_or(u32::MAX))
}

/// The argument `r` where it may be left out.
pub(crate) fn optional_radius(value: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
    match value.is_none() {
        true => Ok(None),
        false => radius(value).map(Some),
    }
}

/// The argument `bits`; the engine refuses what is too many.
pub(crate) fn bits(value: &Bound<'_, PyAny>) -> PyResult<u32> {
    u32::try_from(whole(value, &"bits")?)
        .map_err(|_| invalid(format!("bits must be from 8 to 65,536, not {value}")))
}

/// How many bits are to be selected; the engine refuses what is too many.
pub(crate) fn selected_bits(value: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
    if value.is_none() {
        return Ok(None);
    }
    let bits = u32::try_from(whole(value, &"bits")?);
    let bits = bits.map_err(|_| invalid(format!("bits must be 1 or more, not {value}")))?;
    Ok(Some(bits))
}

/// The argument `threads`; 0 is the engine's way to say None.
pub(crate) fn threads(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    if value.is_none() {
        return Ok(0);
    }
    match whole(value, &"threads")? {
        0 => Err(invalid("threads must be 1 or more, or None")),
        threads => Ok(usize::try_from(threads).unwrap_or(usize::MAX)),
    }
}

/// The argument `budget`: rows that may be compared, or a `datetime.timedelta`.
pub(crate) fn budget(value: &Bound<'_, PyAny>) -> PyResult<Option<Budget>> {
    if value.is_none() {
        return Ok(None);
    }
    if value.is_instance_of::<PyDelta>() {
        let time = value.extract();
        let time =
            time.map_err(|_| invalid(format!("budget must not be negative, as {value} is")))?;
        return Ok(Some(Budget::Time(time)));
    }
    if value.is_instance_of::<PyFloat>() {
        return Err(PyTypeError::new_err(
            "budget must be a whole number of rows to compare, or a datetime.timedelta, not float",
        ));
    }
    Ok(Some(Budget::Candidates(whole(value, &"budget")?)))
}

/// A condition in SQL.
pub(crate) fn filter(value: &Bound<'_, PyAny>) -> PyResult<Filter> {
    let Ok(text) = value.extract::<String>() else {
        let found = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "filter must be a condition in SQL, a str, not {found}"
        )));
    };
    Filter::parse(&text).map_err(raised)
}

/// A condition in SQL, or none.
pub(crate) fn optional_filter(value: &Bound<'_, PyAny>) -> PyResult<Option<Filter>> {
    match value.is_none() {
        true => Ok(None),
        false => filter(value).map(Some),
    }
}

/// The argument `durability`: `"sync"`, `"none"`, or a `datetime.timedelta`.
pub(crate) fn durability(value: &Bound<'_, PyAny>) -> PyResult<Durability> {
    if value.is_instance_of::<PyDelta>() {
        let time = value.extract();
        return time
            .map(Durability::Interval)
            .map_err(|_| invalid(format!("durability must not be negative, as {value} is")));
    }
    match value.extract::<String>().as_deref() {
        Ok("sync") => Ok(Durability::Sync),
        Ok("none") => Ok(Durability::None),
        _ => Err(invalid(format!(
            "durability must be 'sync', 'none' or a datetime.timedelta, not {}",
            value.repr()?
        ))),
    }
}

/// A number of bytes or rows, 1 or more.
pub(crate) fn size(value: &Bound<'_, PyAny>, name: &str) -> PyResult<usize> {
    match whole(value, &name)? {
        0 => Err(invalid(format!("{name} must be 1 or more"))),
        size => Ok(usize::try_from(size).unwrap_or(usize::MAX)),
    }
}

/// The argument `size` of batches.
pub(crate) fn batch_size(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    size(value, "size")
}

/// A shape as Python writes it.
struct Shape<'a>(&'a [usize]);

impl std::fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [length] => write!(f, "({length},)"),
            lengths => {
                let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
                write!(f, "({})", lengths.join(", "))
            }
        }
    }
}

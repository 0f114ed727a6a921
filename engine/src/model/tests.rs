use super::*;
use serde_json::json;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn metadata() -> ModelMetadata {
    ModelMetadata {
        model: object(json!({
            "method": "pp-scdm", "bits": 12, "arithmetic": "f32",
            "input": {"width": 4, "height": 4, "resize": "stretch"}, "alpha": 0.3,
        })),
        backbone: Some(object(json!({"architecture": "tiny", "mean": [0.5, 0.25]}))),
        notes: Some("trained on squares".to_owned()),
        backbone_notes: Some("trained on circles".to_owned()),
    }
}

fn tensors() -> BTreeMap<String, Tensor> {
    let bytes = Tensor {
        dtype: Dtype::U8,
        shape: vec![3],
        bytes: vec![1, 2, 3],
    };
    BTreeMap::from([
        (
            "head.weight".to_owned(),
            Tensor::from_f32(&[2, 2], &[1.0, -2.0, 3.5, 0.0]),
        ),
        ("a.flags".to_owned(), bytes),
        (
            "backbone.stem".to_owned(),
            Tensor::from_f32(&[3], &[0.1, 0.2, 0.3]),
        ),
    ])
}

fn model() -> ModelFile {
    ModelFile::build(metadata(), &tensors()).unwrap()
}

/// A valid safetensors file with these metadata strings and one tensor.
fn file(strings: &[(&'static str, &str)]) -> Vec<u8> {
    let strings = strings
        .iter()
        .map(|(key, value)| (*key, (*value).to_owned()))
        .collect();
    let tensor = Tensor::from_f32(&[1], &[1.0]);
    write::safetensors(
        &strings,
        &BTreeMap::from([("w", tensor.checked_view("w").unwrap())]),
    )
}

#[test]
fn what_was_built_is_read() {
    let model = model();
    assert_eq!(model.kind(), ModelKind::Hash);
    assert_eq!((model.bits(), model.method()), (Some(12), Some("pp-scdm")));
    assert_eq!(model.arithmetic(), Some("f32"));
    assert_eq!(model.input(), Some(ImageInput::stretch(4, 4)));
    assert_eq!(model.metadata().notes, metadata().notes);
    assert!(model.is_self_contained());
    for (name, tensor) in tensors() {
        let view = model.tensor(&name).unwrap();
        assert_eq!((view.dtype, view.shape), (tensor.dtype, &tensor.shape[..]));
        assert_eq!(view.bytes, tensor.bytes);
        // Aligned in a file that is mapped at a page.
        let offset = view.bytes.as_ptr() as usize - model.bytes().as_ptr() as usize;
        assert_eq!(offset % tensor.dtype.size(), 0, "{name}");
    }
    assert_eq!(
        ModelFile::from_bytes(model.bytes().to_vec())
            .unwrap()
            .bytes(),
        model.bytes()
    );
}

#[test]
fn building_is_deterministic_and_readable_by_others() {
    assert_eq!(model().bytes(), model().bytes());
    let bytes = model().into_bytes();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.len(), 3);
    assert_eq!(theirs.tensor("a.flags").unwrap().data(), [1, 2, 3]);
}

#[test]
fn split_and_join_keep_fingerprint_and_bytes() {
    let model = model();
    let (head, backbone) = model.split().unwrap();
    let head = ModelFile::from_bytes(head).unwrap();
    let backbone = ModelFile::from_bytes(backbone.unwrap()).unwrap();
    assert!(!head.is_self_contained());
    assert_eq!(backbone.kind(), ModelKind::Backbone);
    assert_eq!(head.fingerprint(), model.fingerprint());
    assert_eq!(Some(backbone.fingerprint()), model.backbone_fingerprint());
    assert!(head.tensor("backbone.stem").is_err() && backbone.tensor("head.weight").is_err());
    assert_eq!(backbone.metadata().notes, metadata().backbone_notes);

    let joined = ModelFile::join(&head, &backbone).unwrap();
    assert_eq!(joined.bytes(), model.bytes());
    assert!(matches!(
        head.split(),
        Err(ModelError::NotSelfContained { .. })
    ));
    assert!(matches!(
        backbone.split(),
        Err(ModelError::WrongKind { .. })
    ));
    assert!(matches!(
        ModelFile::join(&backbone, &head),
        Err(ModelError::WrongKind { .. })
    ));

    let mut other = tensors();
    other.insert(
        "backbone.stem".to_owned(),
        Tensor::from_f32(&[3], &[0.1, 0.2, 0.4]),
    );
    let other = ModelFile::build(metadata(), &other).unwrap();
    let stranger = ModelFile::from_bytes(other.split().unwrap().1.unwrap()).unwrap();
    assert!(matches!(
        ModelFile::join(&head, &stranger),
        Err(ModelError::BackboneMismatch { .. })
    ));
}

#[test]
fn the_fingerprint_covers_what_affects_codes_and_nothing_else() {
    let base = model().fingerprint();
    let with = |metadata: ModelMetadata, tensors: &BTreeMap<String, Tensor>| {
        ModelFile::build(metadata, tensors).unwrap().fingerprint()
    };

    let mut notes = metadata();
    notes.notes = None;
    notes.backbone_notes = Some("other".to_owned());
    assert_eq!(with(notes, &tensors()), base);

    let mut alpha = metadata();
    alpha.model.insert("alpha".to_owned(), json!(0.31));
    assert_ne!(with(alpha, &tensors()), base);

    let mut mean = metadata();
    mean.backbone
        .as_mut()
        .unwrap()
        .insert("mean".to_owned(), json!([0.5, 0.5]));
    assert_ne!(with(mean, &tensors()), base);

    for name in ["head.weight", "a.flags", "backbone.stem"] {
        let mut value = tensors();
        value.get_mut(name).unwrap().bytes[0] ^= 1;
        assert_ne!(with(metadata(), &value), base, "bytes of {name}");

        let mut shape = tensors();
        shape.get_mut(name).unwrap().shape.push(1);
        assert_ne!(with(metadata(), &shape), base, "shape of {name}");

        let mut renamed = tensors();
        let tensor = renamed.remove(name).unwrap();
        renamed.insert(format!("{name}2"), tensor);
        assert_ne!(with(metadata(), &renamed), base, "name of {name}");
    }

    // As many elements and dimensions, but other ones.
    let mut reshaped = tensors();
    reshaped.get_mut("head.weight").unwrap().shape = vec![4, 1];
    assert_ne!(with(metadata(), &reshaped), base, "sizes of head.weight");

    // Another order of keys and of tensors in the file is the same model.
    let bytes = file(&[(
        KEY,
        r#"{"kind":"hash","input":{"resize":"stretch","height":1,"width":1},"format":1,
            "bits":8,"arithmetic":"f32","method":"m"}"#,
    )]);
    let sorted = file(&[(
        KEY,
        r#"{"arithmetic":"f32","bits":8,"format":1,
            "input":{"height":1,"resize":"stretch","width":1},"kind":"hash","method":"m"}"#,
    )]);
    assert_ne!(bytes, sorted);
    let [a, b] = [bytes, sorted].map(|bytes| ModelFile::from_bytes(bytes).unwrap().fingerprint());
    assert_eq!(a, b);
}

#[test]
fn files_that_are_no_models_are_refused_by_name() {
    let not_safetensors: [&[u8]; 4] = [b"", b"hello", b"\x80\x02}q\x00.", &[0xff; 64]];
    for bytes in not_safetensors {
        let error = ModelFile::from_bytes(bytes.to_vec()).unwrap_err();
        assert!(
            matches!(error, ModelError::NotSafetensors { .. }),
            "{error}"
        );
    }
    let whole = model().into_bytes();
    for length in [9, 100, whole.len() - 1] {
        let error = ModelFile::from_bytes(whole[..length].to_vec()).unwrap_err();
        assert!(
            matches!(error, ModelError::NotSafetensors { .. }),
            "{length}: {error}"
        );
    }
    let refused =
        |strings: &[(&'static str, &str)]| ModelFile::from_bytes(file(strings)).unwrap_err();
    assert!(matches!(refused(&[]), ModelError::MissingKey { key } if key == "bitkin"));
    assert!(matches!(
        refused(&[(KEY, "[1]")]),
        ModelError::InvalidMetadata { key, .. } if key == "bitkin"
    ));
    assert!(matches!(
        refused(&[(KEY, r#"{"format":2,"kind":"from the future"}"#)]),
        ModelError::NewerFormat {
            found: 2,
            supported: 1
        }
    ));
    assert!(matches!(
        refused(&[(KEY, r#"{"format":1,"kind":"cake"}"#)]),
        ModelError::InvalidMetadata { key, .. } if key == "bitkin.kind"
    ));
    assert!(matches!(
        refused(&[(KEY, r#"{"format":1,"kind":"hash","method":"m"}"#)]),
        ModelError::MissingKey { key } if key == "bitkin.bits"
    ));
    let hash = |bits: &str, width: &str| {
        format!(
            r#"{{"format":1,"kind":"hash","method":"m","arithmetic":"f32","bits":{bits},
               "input":{{"width":{width},"height":4,"resize":"stretch"}}}}"#
        )
    };
    for (bits, width, bad) in [
        ("7", "4", "bitkin.bits"),
        ("65537", "4", "bitkin.bits"),
        ("8", "0", "bitkin.input"),
    ] {
        let error = refused(&[(KEY, &hash(bits, width))]);
        assert!(
            matches!(&error, ModelError::InvalidMetadata { key, .. } if key == bad),
            "{error}"
        );
    }
    let good = hash("8", "4");
    assert!(matches!(
        refused(&[(KEY, &good), (BACKBONE, "{}")]),
        ModelError::MissingTensor { name } if name == "backbone.*"
    ));
    assert!(matches!(
        refused(&[(KEY, &good), (BACKBONE_FINGERPRINT, "00")]),
        ModelError::InvalidMetadata { .. }
    ));
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let model = model();
    assert!(matches!(
        model.tensor("head.bias"),
        Err(ModelError::MissingTensor { name }) if name == "head.bias"
    ));
    let weight = model.tensor("head.weight").unwrap();
    assert_eq!(
        weight.to_f32("head.weight", &[2, 2]).unwrap(),
        [1.0, -2.0, 3.5, 0.0]
    );
    let error = weight.to_f32("head.weight", &[4]).unwrap_err().to_string();
    assert!(
        error.contains("head.weight") && error.contains("[2, 2]"),
        "{error}"
    );

    let mut short = tensors();
    short.get_mut("head.weight").unwrap().bytes.pop();
    assert!(matches!(
        ModelFile::build(metadata(), &short),
        Err(ModelError::WrongTensor { name, .. }) if name == "head.weight"
    ));
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.safetensors");
    model().write(&path).unwrap();
    assert_eq!(
        ModelFile::read(&path).unwrap().fingerprint(),
        model().fingerprint()
    );
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    let missing = directory.path().join("no/such/m.safetensors");
    assert!(matches!(
        model().write(&missing),
        Err(ModelError::Io { .. })
    ));
    assert!(matches!(
        ModelFile::read(&missing),
        Err(ModelError::Io { .. })
    ));
}

//! What is measured.

/// A method that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// What it learned from, beside the pictures that are searched.
    pub supervision: &'static str,
}

const fn of(name: &'static str, supervision: &'static str, what: &'static str) -> Described {
    Described {
        name,
        what,
        supervision,
    }
}

const NONE: &str = "none";
const UNLABELLED: &str = "base pictures";
const BASE: &str = "labels of base classes";
const FEW: &str = "labels of base classes and of the examples";
const SELECTED: &str = "base pictures, labels of the examples";
const NAMED: &str = "labels of the examples, a vector of each new class";
const EXAMPLES: &str = "labels of the examples";
const ATTRIBUTES: &str = "labels and attributes of base classes";

/// All methods.
pub const METHODS: [Described; 33] = [
    of(
        "float-centred",
        UNLABELLED,
        "cosine of features, seen from the mean of the base classes",
    ),
    of("float-cosine", NONE, "cosine of features as they are"),
    of("float-l2", NONE, "distance of features as they are"),
    of(
        "float-whitened",
        BASE,
        "cosine of features, whitened as for codes",
    ),
    of(
        "float-diffused",
        BASE,
        "the same, diffused over the same anchors as codes",
    ),
    of(
        "float-lda",
        FEW,
        "whitened, by nearness to the means of the labelled examples",
    ),
    of("lsh", UNLABELLED, "random hyperplanes"),
    of(
        "itq",
        UNLABELLED,
        "PCA-ITQ, fitted on the base classes or also on the anchors, whichever is better",
    ),
    of("pp", FEW, "prior prototypes and head, no diffusion"),
    of(
        "scdm",
        FEW,
        "head on whitened features and diffusion, no prototypes",
    ),
    of("pp-scdm", FEW, "prior prototypes, head and diffusion"),
    of(
        "pp-scdm-adapted",
        FEW,
        "the same, adapted from a model that knew the base classes alone, without their pictures",
    ),
    of(
        "pp-scdm-latent",
        FEW,
        "the same before signs are taken, by cosine",
    ),
    of(
        "ugh",
        SELECTED,
        "bits of a library learned from the base pictures without labels, selected by the labelled examples: \
         aligned with what all its bits learn of them; one set of bits for all classes",
    ),
    of(
        "ugh-sparse",
        SELECTED,
        "the same selected as in the paper, by weights of sparse machines",
    ),
    of(
        "ugh-similar",
        UNLABELLED,
        "the same selected without labels, aligned with all bits on the anchors",
    ),
    of(
        "ugh-random",
        UNLABELLED,
        "bits of the same library, drawn at random",
    ),
    of("ugh-all", UNLABELLED, "all bits of the same library"),
    of(
        "like",
        SELECTED,
        "one search for each class by its examples, with bits of the same library of their own: as search --like",
    ),
    of(
        "like-sparse",
        SELECTED,
        "the same with bits by weights of a sparse machine",
    ),
    of(
        "like-random",
        SELECTED,
        "the same with bits drawn at random, by what most examples say at them",
    ),
    of(
        "like-float",
        SELECTED,
        "the same by the mean of the examples' features, seen from the mean of the base classes",
    ),
    of(
        "kalahash",
        NAMED,
        "calibrated and guided by the vectors of the new classes; nothing of the base classes",
    ),
    of(
        "kalahash-uncalibrated",
        NAMED,
        "the same without calibration",
    ),
    of(
        "kalahash-no-text",
        NAMED,
        "the same with calibration, but codes not guided by the vectors",
    ),
    of(
        "kalahash-plain",
        EXAMPLES,
        "without both: the examples alone",
    ),
    of(
        "comae",
        ATTRIBUTES,
        "the backbone's last blocks trained by prototypes of attributes; nothing of the new classes",
    ),
    of(
        "comae-no-point",
        ATTRIBUTES,
        "the same without the point-wise loss",
    ),
    of(
        "comae-no-pair",
        ATTRIBUTES,
        "the same without the pair-wise loss",
    ),
    of(
        "comae-no-class",
        ATTRIBUTES,
        "the same without the class-wise loss",
    ),
    of(
        "purple",
        UNLABELLED,
        "trained on base pictures and anchors without labels, the backbone's last blocks too",
    ),
    of(
        "purple-graph",
        UNLABELLED,
        "the same with L_S, the graph, alone",
    ),
    of(
        "purple-prototypes",
        UNLABELLED,
        "the same with L_C, hashing prototypes, alone",
    ),
];

/// What says all of [`METHODS`].
pub(super) const ALL: &str = "all";

/// Those of [`METHODS`] that train the backbone: minutes, where others take seconds.
const OF_PICTURES: [&str; 7] = [
    "purple",
    "purple-graph",
    "purple-prototypes",
    "comae",
    "comae-no-point",
    "comae-no-pair",
    "comae-no-class",
];

/// Whether a method is measured where these are asked for: none for all that leave the backbone as it is, or names.
pub fn is_asked(methods: &[String], method: &str) -> bool {
    match methods.is_empty() {
        true => !OF_PICTURES.contains(&method),
        false => methods.iter().any(|name| name == method || name == ALL),
    }
}

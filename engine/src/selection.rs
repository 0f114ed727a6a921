//! Which bits of a code tell a few examples apart: the bits that a search for their kin should look at.
//!
//! Long codes say many things of a picture, of which a task needs few. From a few examples, and from codes of what
//! will be searched, regularised least squares over all bits learn how much each code is what is wanted; then bits
//! are taken one after the other whose plain distance follows that, each the one that adds most to those taken
//! before (`alignment.rs`). Few-shot hashing selects otherwise: by the weights of linear support vector machines
//! with an L1 penalty ([`Criterion::Sparse`]).
//!
//! ```
//! use bitkin::selection::{Selection, SelectionOptions};
//!
//! # fn main() -> Result<(), bitkin::selection::SelectionError> {
//! // Codes of 16 bits: bit 3 is set in what is wanted and bit 12 in what is not; the others say nothing.
//! let like = [0b0000_1001, 0b0000_0000, 0b0000_1010, 0b0000_0000];
//! let unlike = [0b0000_0001, 0b0001_0000, 0b0000_0010, 0b0001_0000];
//! let selection = Selection::of_likeness(16, &like, &unlike, &[], &SelectionOptions::new(2))?;
//! assert_eq!(selection.mask(), [0b0000_1000, 0b0001_0000]);
//! // A code to search with under that mask: what the ideal example says at those bits.
//! assert_eq!(selection.code(), Some(vec![0b0000_1000, 0]));
//! # Ok(())
//! # }
//! ```

mod alignment;
mod columns;
mod ridge;
mod sparse;
mod svm;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use self::columns::Columns;
use self::ridge::{Gram, Weighted};
use self::sparse::Decision;

/// How bits are selected.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SelectionOptions {
    /// Bits asked for.
    pub bits: usize,
    /// Whether so many are an error where there are fewer of any use; otherwise only those are selected that the
    /// examples need, at least one. See [`Selection::informative`].
    pub exact: bool,
    /// What makes bits worth selecting.
    pub criterion: Criterion,
}

/// What makes bits worth selecting.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Criterion {
    /// That their distances, together, order the codes as all bits do once these have learned from the examples:
    /// bits are taken one by one, each the one that most raises the alignment with what regularised least squares
    /// make of all of them.
    Alignment {
        /// The weight λ of the squared weights there, above 0. More trusts the examples' mean, less what tells them
        /// from others.
        ridge: f64,
    },
    /// That linear support vector machines with an L1 penalty on their weights give them large ones: what Wang,
    /// Gui and Hebert (ICCV workshops 2017) do.
    Sparse {
        /// The cost C of an example on the wrong side, in parts of the least at which any bit has a weight; it is
        /// above 1. More gives more bits a weight. The two sides of each decision cost the same in all, however
        /// many examples they have.
        cost: f64,
        /// How several classes are told apart.
        decisions: Decisions,
        /// Where fewer bits than asked for have a weight, whether others that tell the examples apart fill up. See
        /// [`Selection::informative`].
        fill: bool,
    },
}

/// How several classes are told apart; a bit counts by the sum of its absolute weights over all decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decisions {
    /// Each class from each other one: takes time for each two classes, and finds bits that serve many of them.
    OneVersusOne,
    /// Each class from all others together: finds bits that are set in one class alone, of which codes need more.
    OneVersusRest,
}

impl Default for SelectionOptions {
    /// [At most](SelectionOptions::at_most) 64 bits.
    fn default() -> SelectionOptions {
        SelectionOptions::at_most(64)
    }
}

impl SelectionOptions {
    /// So many bits by [`Criterion::Alignment`], its λ 0.03: what retrieved best among photographs.
    pub fn new(bits: usize) -> SelectionOptions {
        SelectionOptions {
            bits,
            exact: true,
            criterion: Criterion::Alignment { ridge: 0.03 },
        }
    }

    /// The same, but fewer bits where these are all that the examples need or that there are: for short codes, of
    /// which so many may say nothing.
    pub fn at_most(bits: usize) -> SelectionOptions {
        SelectionOptions {
            exact: false,
            ..SelectionOptions::new(bits)
        }
    }

    /// So many bits by [`Criterion::Sparse`], each class told from each other one at three times the least cost,
    /// filled up.
    pub fn sparse(bits: usize) -> SelectionOptions {
        SelectionOptions {
            bits,
            criterion: Criterion::Sparse {
                cost: 3.0,
                decisions: Decisions::OneVersusOne,
                fill: true,
            },
            ..SelectionOptions::new(bits)
        }
    }
}

/// Bits of a code, and what they are worth.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Selection {
    /// Width in bits of the codes that they were selected from.
    pub width: u32,
    /// The selected bits, the most informative first.
    pub bits: Vec<SelectedBit>,
    /// How many of them, from the first, the examples needed; the others fill up. By [`Criterion::Alignment`], as
    /// many as are better aligned than fewer or more; by [`Criterion::Sparse`], those with a weight when all bits
    /// could be chosen, before the same was done again with the bits that were left.
    pub informative: usize,
    two_sides: bool,
}

/// A selected bit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SelectedBit {
    /// Its number: bit `i % 8` of byte `i / 8`.
    pub bit: u32,
    /// Its weight. Of likeness: above 0 where a set bit speaks for what is wanted, below 0 where it speaks
    /// against; otherwise at least 0. By [`Criterion::Alignment`] it is the alignment of the bit alone, from 0 to 1
    /// in size; by [`Criterion::Sparse`] the machine's weight, or the sum over decisions of absolute weights, and
    /// those of bits that fill up compare only with those of the same turn.
    pub weight: f64,
}

/// Bits that were taken, the best first, and how many of them were needed.
#[derive(Default)]
struct Taken {
    bits: Vec<SelectedBit>,
    informative: usize,
}

/// Why bits cannot be selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// There are no examples.
    #[error("there are no {which}: give at least one")]
    NoExamples {
        /// Which examples are missing.
        which: &'static str,
    },
    /// What is like has the codes of what is unlike, and nothing else is.
    #[error(
        "the {examples} like examples have the codes of the unlike ones: no bit tells them apart; give other \
         examples, or leave out those that are unlike"
    )]
    SameCodes {
        /// How many there are.
        examples: usize,
    },
    /// All examples are of one class.
    #[error(
        "all {examples} examples are of one class: bits are selected by what sets classes apart, so give \
         examples of another one too, or pictures of anything else"
    )]
    OneClass {
        /// How many there are.
        examples: usize,
    },
    /// The bytes are not codes of that width.
    #[error(
        "codes of {width} bits have {expected} bytes each: {found} bytes of {which} are not a whole \
         number of codes"
    )]
    WrongWidth {
        /// Which examples.
        which: &'static str,
        /// The width in bits.
        width: u32,
        /// Bytes of one code.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Bits beyond the width are set.
    #[error("code {code} of {which} sets bits beyond the width of {width} bits")]
    PaddingBits {
        /// Which examples.
        which: &'static str,
        /// Place of the code among them, from 0.
        code: usize,
        /// The width in bits.
        width: u32,
    },
    /// Not as many labels as codes.
    #[error("there are {codes} codes and {labels} labels: give one label for each code")]
    LabelCount {
        /// Codes given.
        codes: usize,
        /// Labels given.
        labels: usize,
    },
    /// That many bits cannot be selected.
    #[error("{asked} bits cannot be selected from codes of {width} bits: ask for 1 to {width}")]
    BadCount {
        /// Bits asked for.
        asked: usize,
        /// The width in bits.
        width: u32,
    },
    /// The cost is not a number above 1.
    #[error(
        "the cost is {0}: it must be a finite number above 1, the least at which any bit has a weight"
    )]
    BadCost(String),
    /// The weight of squared weights is not a number above 0.
    #[error("the ridge is {0}: it must be a finite number above 0")]
    BadRidge(String),
    /// Fewer bits tell the examples apart than were asked for.
    #[error(
        "{asked} bits were asked for, and {found} {}: {}give more examples, and more different ones",
        if *fill { "tell these codes apart" } else { "have a weight without filling up" },
        if *found > 0 { "ask for at most that many, or " } else { "" },
    )]
    TooFewInformative {
        /// Bits asked for.
        asked: usize,
        /// Bits that could be selected.
        found: usize,
        /// Whether filling up was allowed.
        fill: bool,
    },
}

impl Selection {
    /// Bits that tell the codes `like` from the codes `unlike` and from `others`, each packed, `ceil(width / 8)`
    /// bytes a code. The others stand for what will be searched: codes of rows drawn from the collection, say. Of
    /// `unlike` and `others` one may be empty. By [`Criterion::Sparse`], others count only where nothing is known to
    /// be unlike.
    ///
    /// By [`Criterion::Alignment`], of more than 1,000 codes of a kind as many at even steps are looked at.
    ///
    /// # Errors
    /// [`SelectionError`], for each thing that can be wrong with examples or options.
    pub fn of_likeness(
        width: u32,
        like: &[u8],
        unlike: &[u8],
        others: &[u8],
        options: &SelectionOptions,
    ) -> Result<Selection, SelectionError> {
        let like = rows(width, like, "like examples")?;
        let unlike = rows(width, unlike, "unlike examples")?;
        let others = rows(width, others, "other codes")?;
        let which = match (like.is_empty(), unlike.is_empty() && others.is_empty()) {
            (true, _) => Some("like examples"),
            (_, true) => Some("unlike examples"),
            _ => None,
        };
        if let Some(which) = which {
            return Err(SelectionError::NoExamples { which });
        }
        let [ours, theirs] = [&like, &unlike].map(|rows| rows.iter().collect::<HashSet<_>>());
        if ours == theirs {
            let examples = like.len();
            return Err(SelectionError::SameCodes { examples });
        }
        options.check(width)?;
        let taken = match options.criterion {
            Criterion::Alignment { ridge } => {
                let kinds = [like, unlike, others].map(at_most);
                let [n, m, _] = [0, 1, 2].map(|kind| kinds[kind].len());
                let codes = kinds.concat();
                // What is wanted weighs as much as all that is not, and each kind of that as much as the other.
                let against = kinds[1..].iter().filter(|kind| !kind.is_empty()).count();
                let weighted = (0..codes.len()).map(|i| {
                    let kind = usize::from(i >= n) + usize::from(i >= n + m);
                    let (target, share) = match kind {
                        0 => (1.0, 1.0),
                        _ => (-1.0, 1.0 / against as f64),
                    };
                    let weight = 0.5 * share / kinds[kind].len() as f64;
                    Weighted { target, weight }
                });
                let weighted: Vec<Weighted> = weighted.collect();
                let gram = Gram::of(width, &codes, codes.len());
                let scores = gram.scores(&weighted, ridge);
                let columns = Columns::of(width, &codes);
                alignment::with_scores(&columns, &scores, options.bits)
            }
            Criterion::Sparse { cost, fill, .. } => {
                let n = like.len();
                let against = if unlike.is_empty() { others } else { unlike };
                let codes = [like, against].concat();
                let decision = (0..codes.len()).map(|i| (i, i < n)).collect();
                sparse::select(width, &codes, &[decision], (cost, fill), options.bits)
            }
        };
        options.complete(width, taken, true)
    }

    /// Bits that tell codes of several classes apart, packed, `ceil(width / 8)` bytes a code: one set of bits for
    /// all classes. The `others` are codes without a label of what will be searched, and make bits by
    /// [`Criterion::Alignment`] better; there may be none, and [`Criterion::Sparse`] does not look at them.
    ///
    /// By [`Criterion::Alignment`], of more than 1,000 examples the first ones of each class are looked at, as many of
    /// one as of another, and of more than 1,000 others as many at even steps.
    ///
    /// # Errors
    /// [`SelectionError`], for each thing that can be wrong with examples or options.
    pub fn of_classes(
        width: u32,
        codes: &[u8],
        labels: &[u32],
        others: &[u8],
        options: &SelectionOptions,
    ) -> Result<Selection, SelectionError> {
        let codes = rows(width, codes, "examples")?;
        let others = rows(width, others, "other codes")?;
        if codes.is_empty() {
            return Err(SelectionError::NoExamples { which: "examples" });
        }
        if labels.len() != codes.len() {
            return Err(SelectionError::LabelCount {
                codes: codes.len(),
                labels: labels.len(),
            });
        }
        if classes(labels).len() == 1 {
            let examples = codes.len();
            return Err(SelectionError::OneClass { examples });
        }
        options.check(width)?;
        let taken = match options.criterion {
            Criterion::Alignment { ridge } => {
                let places = at_most_of_classes(labels);
                let examples = places.len();
                let labels: Vec<u32> = places.iter().map(|&place| labels[place]).collect();
                let codes: Vec<&[u8]> = places.into_iter().map(|place| codes[place]).collect();
                let codes = [codes, at_most(others)].concat();
                let gram = Gram::of(width, &codes, examples);
                let scores = classes(&labels).into_iter().map(|class| {
                    let of_class = labels.iter().filter(|label| **label == class).count();
                    let weighted = labels.iter().map(|label| match *label == class {
                        true => (1.0, of_class),
                        false => (-1.0, examples - of_class),
                    });
                    let weighted = weighted.map(|(target, alike)| Weighted {
                        target,
                        weight: 0.5 / alike as f64,
                    });
                    gram.scores(&weighted.collect::<Vec<_>>(), ridge)
                });
                let scores: Vec<Vec<f64>> = scores.collect();
                let columns = Columns::of(width, &codes);
                alignment::with_likeness(&columns, Some(&scores), options.bits)
            }
            Criterion::Sparse {
                cost,
                decisions,
                fill,
            } => {
                let decisions = decisions.of(labels);
                let mut taken =
                    sparse::select(width, &codes, &decisions, (cost, fill), options.bits);
                let bits = taken.bits.iter_mut();
                bits.for_each(|bit| bit.weight = bit.weight.abs());
                taken
            }
        };
        options.complete(width, taken, false)
    }

    /// Bits whose distances follow those of all bits, among codes such as these, packed, `ceil(width / 8)` bytes a
    /// code: what is left of long codes when they must be short, and nobody says what they are for. That is by
    /// [`Criterion::Alignment`], with nothing learned from examples; [`Criterion::Sparse`] cannot do without them.
    ///
    /// Of more than 1,000 codes, as many at even steps are looked at.
    ///
    /// # Errors
    /// [`SelectionError`], for each thing that can be wrong with codes or options.
    pub fn of_similarity(
        width: u32,
        codes: &[u8],
        options: &SelectionOptions,
    ) -> Result<Selection, SelectionError> {
        let codes = rows(width, codes, "codes")?;
        let which = match options.criterion {
            Criterion::Sparse { .. } => Some("examples"),
            _ if codes.is_empty() => Some("codes"),
            _ => None,
        };
        if let Some(which) = which {
            return Err(SelectionError::NoExamples { which });
        }
        options.check(width)?;
        let columns = Columns::of(width, &at_most(codes));
        let taken = alignment::with_likeness(&columns, None, options.bits);
        options.complete(width, taken, false)
    }

    /// The selected bits as a packed code, `ceil(width / 8)` bytes.
    pub fn mask(&self) -> Vec<u8> {
        self.packed(|_| true)
    }

    /// What the ideal example of [`Selection::of_likeness`] says at the selected bits, as a packed code; all other
    /// bits are zero. None for a selection of classes, which are searched with codes of their own.
    pub fn code(&self) -> Option<Vec<u8>> {
        self.two_sides.then(|| self.packed(|bit| bit.weight > 0.0))
    }

    fn packed(&self, set: impl Fn(&SelectedBit) -> bool) -> Vec<u8> {
        let mut packed = vec![0; bytes(self.width)];
        for bit in self.bits.iter().filter(|bit| set(bit)) {
            packed[bit.bit as usize / 8] |= 1 << (bit.bit % 8);
        }
        packed
    }
}

impl SelectionOptions {
    fn check(&self, width: u32) -> Result<(), SelectionError> {
        let asked = self.bits;
        if asked == 0 || self.exact && asked > width as usize {
            return Err(SelectionError::BadCount { asked, width });
        }
        self.criterion.check()
    }

    /// The selection, if there are enough bits.
    fn complete(
        &self,
        width: u32,
        mut taken: Taken,
        two_sides: bool,
    ) -> Result<Selection, SelectionError> {
        if !self.exact {
            taken.bits.truncate(taken.informative);
        }
        let found = taken.bits.len();
        match found == self.bits || !self.exact && found > 0 {
            true => Ok(Selection {
                width,
                bits: taken.bits,
                informative: taken.informative,
                two_sides,
            }),
            false => Err(SelectionError::TooFewInformative {
                asked: self.bits,
                found,
                fill: !matches!(self.criterion, Criterion::Sparse { fill: false, .. }),
            }),
        }
    }
}

impl Criterion {
    /// Whether its numbers make sense, which selections ask, too.
    ///
    /// # Errors
    /// [`SelectionError::BadRidge`], [`SelectionError::BadCost`].
    pub fn check(&self) -> Result<(), SelectionError> {
        match *self {
            Criterion::Alignment { ridge } if !(ridge.is_finite() && ridge > 0.0) => {
                Err(SelectionError::BadRidge(ridge.to_string()))
            }
            Criterion::Sparse { cost, .. } if !(cost.is_finite() && cost > 1.0) => {
                Err(SelectionError::BadCost(cost.to_string()))
            }
            _ => Ok(()),
        }
    }
}

impl Decisions {
    fn of(self, labels: &[u32]) -> Vec<Decision> {
        let classes = classes(labels);
        let decision = |one: u32, other: Option<u32>| -> Decision {
            let examples = (0..).zip(labels).map(|(i, &label)| (i, label));
            examples
                .filter(|(_, label)| *label == one || other.is_none_or(|other| *label == other))
                .map(|(i, label)| (i, label == one))
                .collect()
        };
        match self {
            // Of two classes, the one is the rest of the other.
            Decisions::OneVersusRest if classes.len() > 2 => {
                classes.iter().map(|&class| decision(class, None)).collect()
            }
            _ => {
                let pairs = classes.iter().enumerate().flat_map(|(i, &one)| {
                    let others = classes[i + 1..].iter();
                    others.map(move |&other| (one, other))
                });
                pairs
                    .map(|(one, other)| decision(one, Some(other)))
                    .collect()
            }
        }
    }
}

/// The labels that there are, each once.
fn classes(labels: &[u32]) -> Vec<u32> {
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    classes
}

fn bytes(width: u32) -> usize {
    width.div_ceil(8) as usize
}

/// The codes, one by one.
fn rows<'a>(
    width: u32,
    codes: &'a [u8],
    which: &'static str,
) -> Result<Vec<&'a [u8]>, SelectionError> {
    let expected = bytes(width);
    if !codes.is_empty() && (expected == 0 || !codes.len().is_multiple_of(expected)) {
        return Err(SelectionError::WrongWidth {
            which,
            width,
            expected,
            found: codes.len(),
        });
    }
    let beyond = !0u8 << (width % 8);
    let padded = |code: &[u8]| !width.is_multiple_of(8) && code[expected - 1] & beyond != 0;
    let rows = codes.chunks_exact(expected.max(1));
    match rows.clone().position(padded) {
        Some(code) => Err(SelectionError::PaddingBits { which, code, width }),
        None => Ok(rows.collect()),
    }
}

/// Rows of a kind that are looked at: what two of them say of each other is kept for every two.
const MOST: usize = 1000;

/// Places of examples, all, or as many of each class as there are places, the first ones.
fn at_most_of_classes(labels: &[u32]) -> Vec<usize> {
    let mut met: HashMap<u32, usize> = HashMap::new();
    let mut places: Vec<(usize, usize)> = (0..)
        .zip(labels)
        .map(|(place, label)| {
            let before = met.entry(*label).or_default();
            *before += 1;
            (*before, place)
        })
        .collect();
    if places.len() > MOST {
        places.sort_unstable();
        places.truncate(MOST);
    }
    places.into_iter().map(|(_, place)| place).collect()
}

/// All of them, or, of more than are looked at, as many at even steps.
fn at_most<T: Copy>(all: Vec<T>) -> Vec<T> {
    match all.len() {
        0..=MOST => all,
        n => (0..MOST)
            .map(|i| all[(2 * i + 1) * n / (2 * MOST)])
            .collect(),
    }
}

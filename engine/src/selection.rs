//! Which bits of a code tell a few examples apart: the bits that a search for their kin should look at.
//!
//! Long codes say many things of a picture, of which a task needs few. From some labelled codes a linear
//! support vector machine with an L1 penalty learns which bits those are: its penalty leaves most weights at
//! zero, and the bits with the largest ones are selected (Wang, Gui and Hebert, ICCV workshops 2017).
//!
//! ```
//! use bitkin::selection::{Selection, SelectionOptions};
//!
//! # fn main() -> Result<(), bitkin::selection::SelectionError> {
//! // Codes of 16 bits: bit 3 is set in what is wanted and bit 12 in what is not; the others say nothing.
//! let like = [0b0000_1001, 0b0000_0000, 0b0000_1010, 0b0000_0000];
//! let unlike = [0b0000_0001, 0b0001_0000, 0b0000_0010, 0b0001_0000];
//! let selection = Selection::of_likeness(16, &like, &unlike, &SelectionOptions::new(2))?;
//! assert_eq!(selection.mask(), [0b0000_1000, 0b0001_0000]);
//! // A code to search with under that mask: what the ideal example says at those bits.
//! assert_eq!(selection.code(), Some(vec![0b0000_1000, 0]));
//! # Ok(())
//! # }
//! ```

mod svm;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use self::svm::{Columns, Problem};

/// How bits are selected.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SelectionOptions {
    /// Bits asked for.
    pub bits: usize,
    /// The cost C of an example on the wrong side, in parts of the least at which any bit has a weight: above 1.
    /// More gives more bits a weight. The two sides of each decision cost the same in all, however many examples
    /// they have.
    pub cost: f64,
    /// How several classes are told apart.
    pub decisions: Decisions,
    /// Where fewer bits than asked for have a weight, whether others that tell the examples apart fill up. See
    /// [`Selection::informative`].
    pub fill: bool,
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

impl SelectionOptions {
    /// So many bits, each class told from each other one at three times the least cost, filled up: what retrieved
    /// best among photographs.
    pub fn new(bits: usize) -> SelectionOptions {
        SelectionOptions {
            bits,
            cost: 3.0,
            decisions: Decisions::OneVersusOne,
            fill: true,
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
    /// How many of them, from the first, the examples needed: those with a weight when all bits could be chosen.
    /// The others filled up: the same was done again with the bits that were left, until there were enough.
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
    /// against; of classes: the sum over decisions of absolute weights. Weights of bits that fill up compare only
    /// with those of the same turn.
    pub weight: f64,
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
    /// Fewer bits tell the examples apart than were asked for.
    #[error(
        "{asked} bits were asked for, and only {found} {}: ask for at most that many, or give more examples, \
         and more different ones",
        if *fill { "tell the examples apart" } else { "have a weight without filling up" }
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
    /// Bits that tell the codes `like` from the codes `unlike`, each packed, `ceil(width / 8)` bytes a code.
    /// Where nothing is known to be unlike, codes of rows drawn from the collection serve.
    ///
    /// # Errors
    /// [`SelectionError`], for each thing that can be wrong with examples or options.
    pub fn of_likeness(
        width: u32,
        like: &[u8],
        unlike: &[u8],
        options: &SelectionOptions,
    ) -> Result<Selection, SelectionError> {
        let n = check(width, like, "like examples")?;
        let m = check(width, unlike, "unlike examples")?;
        let decision = (0..n + m).map(|example| (example, example < n)).collect();
        select(width, &[like, unlike].concat(), &[decision], options)
    }

    /// Bits that tell codes of several classes apart, packed, `ceil(width / 8)` bytes a code: one set of bits for
    /// all classes.
    ///
    /// # Errors
    /// [`SelectionError`], for each thing that can be wrong with examples or options.
    pub fn of_classes(
        width: u32,
        codes: &[u8],
        labels: &[u32],
        options: &SelectionOptions,
    ) -> Result<Selection, SelectionError> {
        let n = check(width, codes, "examples")?;
        if labels.len() != n {
            return Err(SelectionError::LabelCount {
                codes: n,
                labels: labels.len(),
            });
        }
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        if classes.len() == 1 {
            return Err(SelectionError::OneClass { examples: n });
        }
        let decision = |one: u32, other: Option<u32>| -> Decision {
            let examples = (0..).zip(labels).map(|(i, &label)| (i, label));
            examples
                .filter(|(_, label)| *label == one || other.is_none_or(|other| *label == other))
                .map(|(i, label)| (i, label == one))
                .collect()
        };
        let decisions: Vec<Decision> = match options.decisions {
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
        };
        let mut selection = select(width, codes, &decisions, options)?;
        selection.two_sides = false;
        let bits = selection.bits.iter_mut();
        bits.for_each(|bit| bit.weight = bit.weight.abs());
        Ok(selection)
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

fn bytes(width: u32) -> usize {
    width.div_ceil(8) as usize
}

/// How many codes there are.
fn check(width: u32, codes: &[u8], which: &'static str) -> Result<usize, SelectionError> {
    let expected = bytes(width);
    if codes.is_empty() {
        return Err(SelectionError::NoExamples { which });
    }
    if expected == 0 || !codes.len().is_multiple_of(expected) {
        return Err(SelectionError::WrongWidth {
            which,
            width,
            expected,
            found: codes.len(),
        });
    }
    let beyond = !0u8 << (width % 8);
    let padded = |code: &[u8]| !width.is_multiple_of(8) && code[expected - 1] & beyond != 0;
    match codes.chunks_exact(expected).position(padded) {
        Some(code) => Err(SelectionError::PaddingBits { which, code, width }),
        None => Ok(codes.len() / expected),
    }
}

/// Examples by their places, and whether each is on the first side.
type Decision = Vec<(usize, bool)>;

/// Selects for all decisions together.
fn select(
    width: u32,
    codes: &[u8],
    decisions: &[Decision],
    options: &SelectionOptions,
) -> Result<Selection, SelectionError> {
    let asked = options.bits;
    if asked == 0 || asked > width as usize {
        return Err(SelectionError::BadCount { asked, width });
    }
    if !(options.cost.is_finite() && options.cost > 1.0) {
        return Err(SelectionError::BadCost(options.cost.to_string()));
    }
    let mut selection = Selection {
        width,
        bits: Vec::with_capacity(asked),
        informative: 0,
        two_sides: true,
    };
    let mut left: Vec<u32> = (0..width).collect();
    loop {
        // One decision keeps the signs of its weights; of several only their sizes add up.
        let mut weights = vec![0.0; width as usize];
        for decision in decisions {
            let examples = decision.iter().map(|(example, _)| *example);
            let (columns, groups) = columns(width, codes, examples, &left);
            let sides: Vec<bool> = decision.iter().map(|(_, side)| *side).collect();
            let Some(problem) = Problem::balanced(&sides).at_cost(options.cost, &columns) else {
                continue;
            };
            for (column, weight) in problem.solve(&columns) {
                for &(bit, contrary) in &groups[column] {
                    weights[bit as usize] += match (decisions.len(), contrary) {
                        (1, true) => -weight,
                        (1, false) => weight,
                        _ => weight.abs(),
                    };
                }
            }
        }
        let weight = |bit: &u32| weights[*bit as usize];
        let (mut active, others): (Vec<u32>, Vec<u32>) =
            left.iter().partition(|bit| weight(bit) != 0.0);
        active.sort_by(|a, b| weight(b).abs().total_cmp(&weight(a).abs()).then(a.cmp(b)));
        selection.bits.extend(active.iter().map(|bit| SelectedBit {
            bit: *bit,
            weight: weight(bit),
        }));
        left = others;
        if selection.informative == 0 {
            selection.informative = selection.bits.len().min(asked);
        }
        let found = selection.bits.len();
        if found >= asked {
            selection.bits.truncate(asked);
            return Ok(selection);
        }
        if active.is_empty() || !options.fill {
            return Err(SelectionError::TooFewInformative {
                asked,
                found,
                fill: options.fill,
            });
        }
    }
}

/// Bits that say the same of every example of a decision, and those that say the contrary.
type Alike = Vec<(u32, bool)>;

/// What each of the `bits` says of some examples, once for all bits that say the same or the contrary. Bits that
/// say the same of all examples tell nothing, and are left out.
///
/// Of few examples, many bits say the same: which of these has the weight is all one to the machine, so all have
/// it.
fn columns(
    width: u32,
    codes: &[u8],
    examples: impl Iterator<Item = usize>,
    bits: &[u32],
) -> (Columns, Vec<Alike>) {
    let examples: Vec<&[u8]> = examples
        .map(|example| &codes[example * bytes(width)..][..bytes(width)])
        .collect();
    let n = examples.len();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut columns = Columns::new(n);
    let mut groups: Vec<Alike> = Vec::new();
    let mut column = vec![0u8; n.div_ceil(8)];
    for &bit in bits {
        let (byte, shift) = (bit as usize / 8, bit % 8);
        for (set, codes) in column.iter_mut().zip(examples.chunks(8)) {
            let codes = codes.iter().rev();
            *set = codes.fold(0, |set, code| set << 1 | code[byte] >> shift & 1);
        }
        let contrary = column[0] & 1 == 1;
        if contrary {
            column.iter_mut().for_each(|byte| *byte = !*byte);
            if !n.is_multiple_of(8) {
                column[n / 8] &= !(!0 << (n % 8));
            }
        }
        if column.iter().all(|byte| *byte == 0) {
            continue;
        }
        match places.get(&column) {
            Some(&place) => groups[place].push((bit, contrary)),
            None => {
                places.insert(column.clone(), groups.len());
                columns.push(&column);
                groups.push(vec![(bit, contrary)]);
            }
        }
    }
    (columns, groups)
}

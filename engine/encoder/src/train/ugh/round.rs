//! One round of hyper-training: a few hash functions from one subset of the pool.

use std::borrow::Cow;

use rand::seq::{SliceRandom, index};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::UghTraining;
use super::dbc::{self, Labels, sign};
use super::platt::Sigmoid;
use super::sampling::{self, best_first};
use super::svm::{Machine, Rows};
use crate::hash::{Dot, dot, with_rows};

/// Hash functions: a bit is set where wᵀx ≥ β.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Functions {
    /// `[count, dim]`.
    pub(super) weights: Vec<f32>,
    /// β: `[count]`.
    pub(super) thresholds: Vec<f32>,
}

/// The functions of the round of that number; they depend on nothing but the options, the pool and the number.
pub(super) fn round(options: &UghTraining, pool: Rows<'_>, number: u32) -> Functions {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    rng.set_stream(u64::from(number));
    let values = subset(pool, options.subset, &mut rng);
    let rows = Rows {
        values: &values,
        dim: pool.dim,
    };

    let seeds = sampling::seeds(rows, options.candidates, options.categories, &mut rng);
    let products = responses(rows, seeds.iter().map(|&seed| rows.row(seed)));
    let categories = sampling::neighbours(&seeds, &products, options.per_category);
    drop(products);
    let first = Pseudo::of(rows, &categories);
    let draw = || rng.random_range(-1.0..1.0);
    let start = dbc::principal_signs(first.rows(), options.functions, draw);
    let weights = options.weights(options.per_category);
    let begun = dbc::learn(first.rows(), &first.categories, start, &weights, &mut rng);
    let begun: Vec<Vec<f32>> = begun.into_iter().map(|(w, _)| w).collect();

    let of_functions = responses(rows, begun.iter().map(|w| &w[..]));
    let signs = |row: usize| of_functions.iter().map(move |f| sign(f[row]));
    let codes: Vec<f32> = (0..rows.len()).flat_map(signs).collect();
    let codes = Rows {
        values: &codes,
        dim: options.functions,
    };
    let scores = scores(options, [rows, codes], &categories, &mut rng);
    let mut added = expand(&scores, &categories, options.expansion);
    drop(scores);
    let held_out = options.held_out();
    let mut kept_out = Vec::new();
    for (category, added) in (0..).zip(&mut added) {
        added.shuffle(&mut rng);
        let out = added.split_off(added.len() - held_out);
        kept_out.extend(out.into_iter().map(|row| (row, category as usize)));
    }
    let all: Vec<Vec<usize>> = categories
        .iter()
        .zip(added)
        .map(|(first, added)| [&first[..], &added].concat())
        .collect();
    let augmented = Pseudo::of(rows, &all);
    let start = of_functions.iter().map(|f| {
        let members = all.iter().flatten();
        members.map(|&row| sign(f[row])).collect()
    });
    let weights = options.weights(all[0].len());
    let learned = dbc::learn(
        augmented.rows(),
        &augmented.categories,
        start.collect(),
        &weights,
        &mut rng,
    );

    let mut functions = Functions::default();
    for (weight, labels) in learned {
        let majorities = majorities(&labels, options.categories);
        let outputs: Vec<f64> = kept_out
            .iter()
            .map(|(row, _)| f64::from(dot(rows.row(*row), &weight)))
            .collect();
        let targets: Vec<bool> = kept_out.iter().map(|(_, c)| majorities[*c]).collect();
        functions.calibrate(weight, Sigmoid::fit(&outputs, &targets));
    }
    functions
}

impl Functions {
    /// Adds the function that is one half or more where the sigmoid of wᵀx is; none where there is no sigmoid, or
    /// a flat one.
    fn calibrate(&mut self, mut weight: Vec<f32>, sigmoid: Option<Sigmoid>) {
        let Some(Sigmoid { slope, offset }) = sigmoid else {
            return;
        };
        let mut threshold = (-offset / slope) as f32;
        if !threshold.is_finite() {
            return;
        }
        if slope < 0.0 {
            weight.iter_mut().for_each(|w| *w = -*w);
            threshold = -threshold;
        }
        self.weights.extend(weight);
        self.thresholds.push(threshold);
    }
}

/// `count` rows of the pool at random, or all of them.
fn subset<'a>(pool: Rows<'a>, count: usize, rng: &mut ChaCha8Rng) -> Cow<'a, [f32]> {
    if count >= pool.len() {
        return Cow::Borrowed(pool.values);
    }
    let mut drawn = index::sample(rng, pool.len(), count).into_vec();
    drawn.sort_unstable();
    let values = drawn.iter().flat_map(|&i| pool.row(i).iter().copied());
    Cow::Owned(values.collect())
}

/// Products of vectors with all rows: a list for each vector.
fn responses<'a>(rows: Rows<'_>, vectors: impl Iterator<Item = &'a [f32]>) -> Vec<Vec<f32>> {
    let vectors: Vec<Vec<f32>> = vectors.map(<[f32]>::to_vec).collect();
    with_rows::<Dot>(rows.values, &vectors)
}

/// Pseudo-labelled rows.
struct Pseudo {
    values: Vec<f32>,
    dim: usize,
    /// The pseudo-category of each row.
    categories: Vec<u32>,
}

impl Pseudo {
    fn of(rows: Rows<'_>, categories: &[Vec<usize>]) -> Pseudo {
        let members = categories.iter().flatten();
        let numbers = (0..).zip(categories);
        Pseudo {
            values: members.flat_map(|&row| rows.row(row)).copied().collect(),
            dim: rows.dim,
            categories: numbers
                .flat_map(|(number, members)| members.iter().map(move |_| number))
                .collect(),
        }
    }

    fn rows(&self) -> Rows<'_> {
        Rows {
            values: &self.values,
            dim: self.dim,
        }
    }
}

/// How much every row looks like each category: the responses of machines that tell the category from the others,
/// each brought to a mean of 0 and a deviation of 1 over all rows, and added up over `spaces`: features and codes.
fn scores(
    options: &UghTraining,
    spaces: [Rows<'_>; 2],
    categories: &[Vec<usize>],
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<f32>> {
    let mut scores: Vec<Vec<f32>> = Vec::new();
    for rows in spaces {
        let first = Pseudo::of(rows, categories);
        let machines = (0..categories.len() as u32).map(|category| {
            let own = first.categories.iter().map(|&c| c == category);
            let labels: Vec<f32> = own.map(|own| if own { 1.0 } else { -1.0 }).collect();
            let mut machine = Machine::new(labels.len(), rows.dim);
            machine.learn(first.rows(), &labels, options.cost(), options.passes, rng);
            machine.weight
        });
        let machines: Vec<Vec<f32>> = machines.collect();
        let mut here = responses(rows, machines.iter().map(|w| &w[..]));
        here.iter_mut().for_each(|scores| standardise(scores));
        match scores.is_empty() {
            true => scores = here,
            false => scores.iter_mut().zip(&here).for_each(|(sums, here)| {
                sums.iter_mut()
                    .zip(here)
                    .for_each(|(sum, score)| *sum += score);
            }),
        }
    }
    scores
}

/// To a mean of 0 and a deviation of 1, or all to 0.
fn standardise(values: &mut [f32]) {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let squares = values.iter().map(|v| (f64::from(*v) - mean).powi(2));
    let deviation = (squares.sum::<f64>() / n).sqrt();
    let scale = if deviation > 0.0 {
        1.0 / deviation
    } else {
        0.0
    };
    values
        .iter_mut()
        .for_each(|v| *v = ((f64::from(*v) - mean) * scale) as f32);
}

/// The `count` unlabelled rows that look most like each category: in turns each category takes the best that is
/// still free.
fn expand(scores: &[Vec<f32>], categories: &[Vec<usize>], count: usize) -> Vec<Vec<usize>> {
    let rows = scores.first().map_or(0, Vec::len);
    let mut taken = vec![false; rows];
    categories
        .iter()
        .flatten()
        .for_each(|&row| taken[row] = true);
    // All categories together take so many: each finds its own among as many of its best.
    let most = count * categories.len();
    let best = scores.iter().map(|scores| {
        let mut free: Vec<usize> = (0..rows).filter(|row| !taken[*row]).collect();
        let better = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        best_first(&mut free, most, better);
        free.into_iter()
    });
    let mut best: Vec<_> = best.collect();
    let mut added = vec![Vec::with_capacity(count); categories.len()];
    for _ in 0..count {
        for (best, added) in best.iter_mut().zip(&mut added) {
            if let Some(row) = best.find(|row| !taken[*row]) {
                taken[row] = true;
                added.push(row);
            }
        }
    }
    added
}

/// Whether most labels of each category are 1.
fn majorities(labels: &Labels<'_>, categories: usize) -> Vec<bool> {
    let mut sums = vec![0.0f32; categories];
    for (label, &category) in labels.values.iter().zip(labels.categories) {
        sums[category as usize] += label;
    }
    sums.into_iter().map(|sum| sum >= 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_take_turns_and_no_row_twice() {
        // Rows 0 and 5 are the categories' own. Both want row 1 most, then 2; the first is asked first.
        let scores = [
            vec![9.0, 5.0, 4.0, 3.0, 0.0, 9.0],
            vec![9.0, 5.0, 4.5, 0.0, 1.0, 9.0],
        ];
        let own = [vec![0], vec![5]];
        assert_eq!(expand(&scores, &own, 1), [vec![1], vec![2]]);
        assert_eq!(expand(&scores, &own, 2), [vec![1, 3], vec![2, 4]]);
    }

    #[test]
    fn responses_are_standardised() {
        let mut values = [1.0, 3.0, 1.0, 3.0];
        standardise(&mut values);
        assert_eq!(values, [-1.0, 1.0, -1.0, 1.0]);
        let mut same = [2.0; 3];
        standardise(&mut same);
        assert_eq!(same, [0.0; 3]);
    }

    #[test]
    fn functions_answer_as_their_calibrated_sigmoids() {
        let x = [1.0f32, -2.0];
        for (slope, offset) in [(2.0, 0.5), (-2.0, 0.5), (0.1, -3.0), (-1.0, -7.0)] {
            for weight in [vec![0.5f32, 1.0], vec![-3.0, 0.2]] {
                let response = f64::from(dot(&weight, &x));
                let mut functions = Functions::default();
                functions.calibrate(weight, Some(Sigmoid { slope, offset }));
                let bit = dot(&functions.weights, &x) >= functions.thresholds[0];
                assert_eq!(bit, slope * response + offset >= 0.0);
            }
        }
        let mut none = Functions::default();
        none.calibrate(vec![1.0], None);
        let (slope, offset) = (0.0, 1.0);
        none.calibrate(vec![1.0], Some(Sigmoid { slope, offset }));
        assert_eq!(none, Functions::default());
    }
}

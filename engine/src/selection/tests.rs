use proptest::prelude::*;

use super::svm::Problem;
use super::*;

fn sparse_with(bits: usize, cost: f64, decisions: Decisions, fill: bool) -> SelectionOptions {
    SelectionOptions {
        bits,
        exact: true,
        criterion: Criterion::Sparse {
            cost,
            decisions,
            fill,
        },
    }
}

/// Columns of ±1 and the objective, written out.
struct Plain {
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    costs: Vec<f64>,
}

impl Plain {
    fn slack(&self, w: &[f64], bias: f64) -> Vec<f64> {
        let rows = (0..self.y.len()).map(|i| {
            let product: f64 = self.x.iter().zip(w).map(|(x, w)| x[i] * w).sum();
            1.0 - self.y[i] * (product + bias)
        });
        rows.collect()
    }

    fn objective(&self, w: &[f64], bias: f64) -> f64 {
        let slack = self.slack(w, bias);
        let loss = slack.iter().zip(&self.costs);
        let loss: f64 = loss.map(|(s, c)| c * s.max(0.0).powi(2)).sum();
        loss + w.iter().map(|w| w.abs()).sum::<f64>()
    }

    /// Slopes of the loss along every weight and the bias.
    fn slopes(&self, w: &[f64], bias: f64) -> (Vec<f64>, f64) {
        let slack = self.slack(w, bias);
        let v: Vec<f64> = (0..slack.len())
            .map(|i| -2.0 * self.costs[i] * self.y[i] * slack[i].max(0.0))
            .collect();
        let along = |x: &Vec<f64>| x.iter().zip(&v).map(|(x, v)| x * v).sum();
        (self.x.iter().map(along).collect(), v.iter().sum())
    }

    /// Accelerated proximal gradient: slow, and nothing like coordinate descent.
    fn solved(&self) -> (Vec<f64>, f64) {
        let n: f64 = self.costs.iter().sum();
        let step = 1.0 / (2.0 * n * (self.x.len() + 1) as f64);
        let (mut w, mut bias) = (vec![0.0; self.x.len()], 0.0);
        let (mut ahead, mut ahead_bias) = (w.clone(), bias);
        for t in 0..30_000 {
            let (slopes, of_bias) = self.slopes(&ahead, ahead_bias);
            let momentum = t as f64 / (t as f64 + 3.0);
            for j in 0..w.len() {
                let free = ahead[j] - step * slopes[j];
                let next = free.signum() * (free.abs() - step).max(0.0);
                ahead[j] = next + momentum * (next - w[j]);
                w[j] = next;
            }
            let next = ahead_bias - step * of_bias;
            ahead_bias = next + momentum * (next - bias);
            bias = next;
        }
        (w, bias)
    }
}

/// Codes whose bits are the columns, row by row.
fn packed(columns: &[Vec<bool>]) -> Vec<u8> {
    let width = columns.len();
    let mut codes = vec![0; columns[0].len() * width.div_ceil(8)];
    for (bit, column) in columns.iter().enumerate() {
        for (example, set) in column.iter().enumerate() {
            codes[example * width.div_ceil(8) + bit / 8] |= u8::from(*set) << (bit % 8);
        }
    }
    codes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn weights_are_optimal(
        columns in (4usize..14).prop_flat_map(|n| {
            proptest::collection::vec(proptest::collection::vec(any::<bool>(), n), 1..12)
        }),
        first in 1usize..4,
        cost in 1.05f64..60.0,
    ) {
        let n = columns[0].len();
        let sides: Vec<bool> = (0..n).map(|i| i < first).collect();
        let balanced = Problem::balanced(&sides);
        let bits: Vec<u32> = (0..columns.len() as u32).collect();
        let codes = packed(&columns);
        let (kinds, groups) = sparse::columns(&codes.chunks(bits.len().div_ceil(8)).collect::<Vec<_>>(), &bits);
        let x: Vec<Vec<f64>> = groups
            .iter()
            .map(|group| {
                let (bit, contrary) = group[0];
                let column = columns[bit as usize].iter();
                column.map(|set| if *set != contrary { 1.0 } else { -1.0 }).collect()
            })
            .collect();
        let plain = |problem: &Problem| Plain {
            x: x.clone(),
            y: problem.y.clone(),
            costs: problem.costs.clone(),
        };
        let Some(problem) = balanced.at_cost(cost, &kinds) else {
            // Nothing tells the sides apart.
            let (slopes, _) = plain(&balanced).slopes(&vec![0.0; x.len()], 0.0);
            prop_assert!(slopes.iter().all(|slope| slope.abs() < 1e-6));
            return Ok(());
        };
        // Costs are counted from the least at which there is a weight.
        let at = |times: f64| balanced.at_cost(times, &kinds).unwrap().solve(&kinds).len();
        prop_assert!(at(0.99) == 0 && at(1.05) > 0);
        let plain = plain(&problem);

        let (bias, sparse) = problem.descend(&kinds);
        let mut w = vec![0.0; groups.len()];
        sparse.iter().for_each(|(column, weight)| w[*column] = *weight);
        // The optimality conditions hold.
        let (slopes, of_bias) = plain.slopes(&w, bias);
        prop_assert!(of_bias.abs() < 1e-3, "{of_bias}");
        for (w, slope) in w.iter().zip(slopes) {
            let broken = if *w == 0.0 { slope.abs() - 1.0 } else { (slope + w.signum()).abs() };
            prop_assert!(broken < 1e-3, "{w} {slope}");
        }
        // And nothing better is found another way.
        let (slow, slow_bias) = plain.solved();
        let (ours, theirs) = (plain.objective(&w, bias), plain.objective(&slow, slow_bias));
        prop_assert!(ours <= theirs + 1e-4 && theirs <= ours + 1e-2, "{ours} {theirs}");
    }
}

/// A bit that parts n examples rightly alone: w + C n (1 - w)^2 is least at 1 - 1 / (2 C n), above 0 from
/// C = 1 / (2 n) on; at t times that, at 1 - 1 / t.
#[test]
fn the_weight_of_one_good_bit_is_as_computed_by_hand() {
    let like = [0b001, 0b111, 0b001];
    let unlike = [0b100, 0b010, 0b000];
    let options = sparse_with(1, 4.0, Decisions::OneVersusOne, true);
    let selection = Selection::of_likeness(3, &like, &unlike, &[], &options).unwrap();
    assert_eq!((selection.bits[0].bit, selection.informative), (0, 1));
    let expected = 0.75;
    assert!(
        (selection.bits[0].weight - expected).abs() < 1e-4,
        "{selection:?}"
    );
    assert_eq!(selection.code(), Some(vec![1]));

    // The other way round it speaks against.
    let selection = Selection::of_likeness(3, &unlike, &like, &[], &options).unwrap();
    assert!((selection.bits[0].weight + expected).abs() < 1e-4);
    assert_eq!(
        (selection.mask(), selection.code()),
        (vec![1], Some(vec![0]))
    );
}

/// Bits that say the same, or the contrary, all have the weight; others fill up; constant ones never do.
#[test]
fn bits_that_say_the_same_are_selected_together_and_others_fill_up() {
    // Bits 0 and 2 part the examples, 2 contrarily; 1 mostly; 3 is always set, 4 never.
    let like = [0b01011, 0b01011, 0b01011, 0b01001];
    let unlike = [0b01100, 0b01100, 0b01110, 0b01100];
    let select = |bits: usize, fill: bool| {
        let options = sparse_with(bits, 3.0, Decisions::OneVersusOne, fill);
        Selection::of_likeness(5, &like, &unlike, &[], &options)
    };
    let three = select(3, true).unwrap();
    let numbers: Vec<u32> = three.bits.iter().map(|bit| bit.bit).collect();
    assert_eq!((numbers, three.informative), (vec![0, 2, 1], 2));
    assert_eq!(three.bits[0].weight, -three.bits[1].weight);
    assert_eq!(
        (three.mask(), three.code()),
        (vec![0b111], Some(vec![0b011]))
    );
    assert_eq!(select(1, true).unwrap().informative, 1);
    // Where fewer will do, those are left out.
    let sparse = SelectionOptions {
        exact: false,
        ..SelectionOptions::sparse(4)
    };
    for (options, needed) in [
        (sparse, 0b101),
        (SelectionOptions::at_most(4), 0b001),
        // More than there are.
        (SelectionOptions::default(), 0b001),
    ] {
        let few = Selection::of_likeness(5, &like, &unlike, &[], &options).unwrap();
        assert_eq!(
            (few.mask(), few.informative),
            (vec![needed], few.bits.len())
        );
    }
    let none = Selection::of_likeness(5, &like, &[], &like, &SelectionOptions::at_most(4));
    assert_eq!(
        none,
        Err(SelectionError::TooFewInformative {
            asked: 4,
            found: 0,
            fill: true
        })
    );

    let too_few = |asked, found, fill| SelectionError::TooFewInformative { asked, found, fill };
    assert_eq!(select(3, false), Err(too_few(3, 2, false)));
    assert_eq!(select(4, true), Err(too_few(4, 3, true)));
    let message = select(4, true).unwrap_err().to_string();
    assert!(
        message.contains("3 tell these codes apart: ask for at most"),
        "{message}"
    );
}

#[test]
fn bits_of_several_classes_count_by_the_sum_of_their_weights() {
    // Four classes of two examples: bits 0 and 1 number them, bit 2 tells only class 3 from the others, bit 3
    // the two examples of each.
    let codes = [
        0b0000, 0b1000, 0b0001, 0b1001, 0b0010, 0b1010, 0b0111, 0b1111,
    ];
    let labels = [7, 7, 1, 1, 4, 4, 9, 9];
    let options = SelectionOptions::sparse(3);
    let selection = Selection::of_classes(4, &codes, &labels, &[], &options).unwrap();
    let numbers: Vec<u32> = selection.bits.iter().map(|bit| bit.bit).collect();
    assert_eq!((selection.mask(), selection.code()), (vec![0b111], None));
    assert!(
        numbers[..2].contains(&0) && numbers[..2].contains(&1),
        "{selection:?}"
    );
    assert!(selection.bits.iter().all(|bit| bit.weight > 0.0));
    let weights: Vec<f64> = selection.bits.iter().map(|bit| bit.weight).collect();
    assert!(weights.is_sorted_by(|a, b| a >= b), "{weights:?}");

    // Names of classes and the order of examples do not matter.
    let mixed = [7, 0, 5, 2, 1, 6, 3, 4];
    let (codes, labels): (Vec<u8>, Vec<u32>) =
        mixed.iter().map(|&i| (codes[i], labels[i] / 2)).unzip();
    let again = Selection::of_classes(4, &codes, &labels, &[], &options).unwrap();
    assert_eq!(again.mask(), selection.mask());
}

#[test]
fn one_against_one_finds_bits_that_serve_many_classes_and_one_against_rest_those_of_each() {
    // Bits 0 and 1 number four classes, each of the others is set in one of them.
    let codes = [0b00_0100, 0b00_1001, 0b01_0010, 0b10_0011];
    let labels = [0, 1, 2, 3];
    let mask = |bits, decisions| {
        let options = sparse_with(bits, 3.0, decisions, true);
        let selection = Selection::of_classes(6, &codes, &labels, &[], &options);
        selection.unwrap().mask()
    };
    assert_eq!(mask(2, Decisions::OneVersusOne), [0b11]);
    assert_eq!(mask(4, Decisions::OneVersusRest), [0b11_1100]);
}

/// Many examples of the other side must not make the cheapest answer "nothing is like it".
#[test]
fn both_sides_weigh_the_same_however_many_examples_they_have() {
    // Bit 0 is set in all that is wanted and in a fifth of what is not; bit 1 in one of the two that are wanted
    // and in nothing else: only where the two examples count as much as the fifty is the first the better one.
    let like = [0b01, 0b11];
    let unlike: Vec<u8> = (0..50).map(|i| u8::from(i % 5 == 0)).collect();
    for options in [SelectionOptions::sparse(1), SelectionOptions::new(1)] {
        let selection = Selection::of_likeness(2, &like, &unlike, &[], &options).unwrap();
        assert_eq!(selection.mask(), [0b01]);
    }
}

#[test]
fn long_codes_give_the_same_bits_each_time() {
    let (width, n) = (4096u32, 40usize);
    let mut chance = Chance(1);
    let mut codes: Vec<u8> = (0..n * 512)
        .map(|_| (chance.next() * 256.0) as u8)
        .collect();
    // Of 4096 random bits, ten are the class.
    for (i, code) in codes.chunks_exact_mut(512).enumerate() {
        for byte in (0..500).step_by(50) {
            code[byte] = code[byte] & !1 | u8::from(i % 2 == 0);
        }
    }
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
    let select = |bits| {
        let options = SelectionOptions::sparse(bits);
        Selection::of_classes(width, &codes, &labels, &[], &options).unwrap()
    };
    let ten = select(10);
    let mut numbers: Vec<u32> = ten.bits.iter().map(|bit| bit.bit).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).map(|i| i * 400).collect::<Vec<_>>());
    assert_eq!(ten.informative, 10);
    assert_eq!(select(64), select(64));
    assert_eq!(select(64).bits[..10], ten.bits[..]);
}

#[test]
fn what_cannot_be_selected_from_is_refused() {
    use SelectionError::*;
    let options = SelectionOptions::new(2);
    let likeness = |like: &[u8], unlike: &[u8]| {
        Selection::of_likeness(12, like, unlike, &[], &options).unwrap_err()
    };
    let good = [1u8, 0];
    assert_eq!(
        likeness(&[], &good),
        NoExamples {
            which: "like examples"
        }
    );
    assert_eq!(
        likeness(&good, &[]),
        NoExamples {
            which: "unlike examples"
        }
    );
    assert!(matches!(
        likeness(&[1, 0, 1], &good),
        WrongWidth {
            width: 12,
            expected: 2,
            found: 3,
            ..
        }
    ));
    let padded = likeness(&good, &[0, 0, 0, 16]);
    assert_eq!(
        padded,
        PaddingBits {
            which: "unlike examples",
            code: 1,
            width: 12
        }
    );

    let classes = |codes: &[u8], labels: &[u32], options: &SelectionOptions| {
        Selection::of_classes(12, codes, labels, &[], options).unwrap_err()
    };
    let two = [1, 0, 2, 0];
    assert_eq!(classes(&two, &[3, 3], &options), OneClass { examples: 2 });
    assert_eq!(
        classes(&two, &[3], &options),
        LabelCount {
            codes: 2,
            labels: 1
        }
    );
    let asked = |bits| classes(&two, &[3, 4], &SelectionOptions::new(bits));
    assert_eq!(
        asked(0),
        BadCount {
            asked: 0,
            width: 12
        }
    );
    assert_eq!(
        asked(13),
        BadCount {
            asked: 13,
            width: 12
        }
    );
    for bad in [1.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = sparse_with(2, bad, Decisions::OneVersusOne, true);
        assert!(matches!(classes(&two, &[3, 4], &options), BadCost(_)));
    }
    for ridge in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = SelectionOptions {
            criterion: Criterion::Alignment { ridge },
            ..SelectionOptions::new(2)
        };
        assert!(matches!(classes(&two, &[3, 4], &options), BadRidge(_)));
    }
    assert!(matches!(
        Selection::of_similarity(12, &[], &SelectionOptions::new(3)),
        Err(NoExamples { which: "codes" })
    ));
    assert!(matches!(
        Selection::of_similarity(12, &two, &SelectionOptions::new(13)),
        Err(BadCount { asked: 13, .. })
    ));
    // Two codes differ in two bits alone: no third says anything.
    let similar = |options: &SelectionOptions| Selection::of_similarity(12, &two, options);
    let third = similar(&SelectionOptions::new(3)).unwrap_err();
    assert!(matches!(third, TooFewInformative { found: 2, .. }));
    assert_eq!(similar(&SelectionOptions::new(2)).unwrap().mask(), [3, 0]);
    assert_eq!(
        similar(&SelectionOptions::at_most(3)).unwrap().informative,
        1
    );
    assert_eq!(
        similar(&SelectionOptions::sparse(2)),
        Err(NoExamples { which: "examples" })
    );
    // Two classes that have the same codes.
    let same = classes(&[1, 0, 2, 0, 1, 0, 2, 0], &[3, 3, 4, 4], &options);
    assert!(matches!(same, TooFewInformative { found: 0, .. }));
    assert!(!same.to_string().contains("at most"), "{same}");
    // Examples that no bit tells apart.
    let none = TooFewInformative {
        asked: 2,
        found: 0,
        fill: true,
    };
    let others = Selection::of_likeness(12, &good, &[], &good, &options);
    assert_eq!(others, Err(none));
    assert_eq!(likeness(&good, &good), SameCodes { examples: 1 });
}

/// Numbers from 0 to 1.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as f64 / 2.0_f64.powi(32)
    }
}

/// Codes of classes that differ in a few of many bits, the others noise that several bits share.
fn clouds(classes: usize, each: usize, seed: u64) -> (Vec<u8>, Vec<u32>) {
    let (hidden, bits) = (24, 512);
    let mut chance = Chance(seed);
    let mut point = || -> Vec<f64> {
        let normal = |chance: &mut Chance| (0..4).map(|_| chance.next() - 0.5).sum();
        (0..hidden).map(|_| normal(&mut chance)).collect()
    };
    let planes: Vec<Vec<f64>> = (0..bits).map(|_| point()).collect();
    let (mut codes, mut labels) = (Vec::new(), Vec::new());
    for class in 0..classes {
        let centre = point();
        for _ in 0..each {
            let point: Vec<f64> = centre
                .iter()
                .zip(point())
                .map(|(c, p)| c + 1.2 * p)
                .collect();
            let side =
                |plane: &Vec<f64>| plane.iter().zip(&point).map(|(a, b)| a * b).sum::<f64>() > 0.0;
            let mut code = vec![0u8; bits / 8];
            for (bit, plane) in planes.iter().enumerate() {
                code[bit / 8] |= u8::from(side(plane)) << (bit % 8);
            }
            codes.extend(code);
            labels.push(class as u32);
        }
    }
    (codes, labels)
}

/// Mean average precision of codes under a mask, each once the query.
fn precision(
    codes: &[u8],
    labels: &[u32],
    queries: &[(Vec<u8>, u32)],
    mask: impl Fn(usize) -> Vec<u8>,
) -> f64 {
    let of_query = |(place, (query, label)): (usize, &(Vec<u8>, u32))| {
        let mask = mask(place);
        let mut ties = vec![(0, 0); 513];
        for (code, own) in codes.chunks(64).zip(labels) {
            let differ = code
                .iter()
                .zip(query)
                .zip(&mask)
                .map(|((a, b), m)| ((a ^ b) & m).count_ones());
            let tie: &mut (u64, u64) = &mut ties[differ.sum::<u32>() as usize];
            tie.0 += 1;
            tie.1 += u64::from(own == label);
        }
        crate::metrics::expected_average_precision_of_ties(ties)
    };
    crate::metrics::mean(queries.iter().enumerate().map(of_query))
}

/// By weights of sparse machines, a search like one example found less than one by bits drawn at random: of the few
/// bits that are as in the example and in hardly any other code, most are so by chance. What orders the codes as all
/// bits do is better with one example, too.
#[test]
fn bits_that_are_aligned_retrieve_better_than_sparse_and_random_ones() {
    let (codes, labels) = clouds(12, 40, 3);
    let some: Vec<usize> = (0..codes.len() / 64).step_by(3).collect();
    let others: Vec<u8> = some
        .iter()
        .flat_map(|i| &codes[64 * i..][..64])
        .copied()
        .collect();
    let random = |place: usize| -> Vec<u8> {
        (0..64)
            .map(|byte| u8::from(byte % 8 == place % 8) * 0x0f)
            .collect()
    };
    for shots in [1, 5] {
        let groups: Vec<(Vec<u8>, u32)> = (0..12 * 40 / 8)
            .map(|i| (codes[64 * 8 * i..][..64 * shots].to_vec(), labels[8 * i]))
            .collect();
        let found = |options: &SelectionOptions| {
            let selections: Vec<Selection> = groups
                .iter()
                .map(|(like, _)| Selection::of_likeness(512, like, &[], &others, options).unwrap())
                .collect();
            let queries: Vec<(Vec<u8>, u32)> = selections
                .iter()
                .zip(&groups)
                .map(|(selection, (_, label))| (selection.code().unwrap(), *label))
                .collect();
            precision(&codes, &labels, &queries, |place| selections[place].mask())
        };
        let (aligned, sparse) = (
            found(&SelectionOptions::new(32)),
            found(&SelectionOptions::sparse(32)),
        );
        let majority: Vec<(Vec<u8>, u32)> = groups
            .iter()
            .map(|(like, label)| {
                let set = |bit: usize| {
                    let set = like
                        .chunks(64)
                        .filter(|c| c[bit / 8] >> (bit % 8) & 1 == 1)
                        .count();
                    u8::from(2 * set > shots) << (bit % 8)
                };
                let code = (0..64)
                    .map(|byte| (8 * byte..8 * byte + 8).map(set).sum())
                    .collect();
                (code, *label)
            })
            .collect();
        let drawn = precision(&codes, &labels, &majority, random);
        let all = precision(&codes, &labels, &majority, |_| vec![0xff; 64]);
        assert!(
            aligned > sparse.max(drawn) && aligned > 0.7 * all,
            "{shots}: {aligned} {sparse} {drawn} {all}"
        );
    }
}

/// One set of bits for all classes, and one for nobody knows what.
#[test]
fn bits_that_are_aligned_with_classes_or_all_bits_retrieve_better_than_others() {
    let (codes, labels) = clouds(12, 40, 4);
    let queries: Vec<(Vec<u8>, u32)> = codes
        .chunks(64)
        .zip(&labels)
        .step_by(5)
        .map(|(code, label)| (code.to_vec(), *label))
        .collect();
    let few: Vec<usize> = (0..labels.len()).filter(|i| i % 40 < 5).collect();
    let examples: Vec<u8> = few
        .iter()
        .flat_map(|i| &codes[64 * i..][..64])
        .copied()
        .collect();
    let of: Vec<u32> = few.iter().map(|i| labels[*i]).collect();
    let others: Vec<u8> = codes
        .chunks(64)
        .skip(7)
        .step_by(8)
        .flatten()
        .copied()
        .collect();
    let bits = 24;
    let found = |mask: Vec<u8>| precision(&codes, &labels, &queries, |_| mask.clone());
    let of_classes = |options: &SelectionOptions| {
        let selection = Selection::of_classes(512, &examples, &of, &others, options).unwrap();
        assert_eq!((selection.bits.len(), selection.code()), (bits, None));
        found(selection.mask())
    };
    let (aligned, sparse) = (
        of_classes(&SelectionOptions::new(bits)),
        of_classes(&SelectionOptions::sparse(bits)),
    );
    let similar = found(
        Selection::of_similarity(512, &others, &SelectionOptions::new(bits))
            .unwrap()
            .mask(),
    );
    let random: Vec<f64> = (0..21)
        .map(|k| found((0..64).map(|byte| u8::from(byte / 3 == k) * 0xff).collect()))
        .collect();
    let random = random.iter().sum::<f64>() / random.len() as f64;
    assert!(
        aligned > similar && similar > random && aligned > sparse,
        "{aligned} {similar} {random} {sparse}"
    );
}

#[test]
fn of_many_codes_as_many_at_even_steps_are_looked_at() {
    let all: Vec<u32> = (0..2500).collect();
    let some = at_most(all.clone());
    assert_eq!((some.len(), some[0], some[999]), (1000, 1, 2498));
    assert!(
        some.windows(2)
            .all(|pair| (2..=3).contains(&(pair[1] - pair[0])))
    );
    assert_eq!(at_most(all[..1000].to_vec()), all[..1000]);
}

/// At even steps, all that were left of two classes in turn were of one.
#[test]
fn of_many_examples_as_many_of_each_class_are_looked_at() {
    let labels: Vec<u32> = (0..2000)
        .map(|i| if i == 1999 { 9 } else { i % 2 })
        .collect();
    let places = at_most_of_classes(&labels);
    let of = |class: u32| {
        places
            .iter()
            .filter(|place| labels[**place] == class)
            .count()
    };
    assert_eq!((places.len(), of(0), of(1), of(9)), (1000, 500, 499, 1));
    assert_eq!(
        at_most_of_classes(&labels[..1000]),
        (0..1000).collect::<Vec<_>>()
    );
}

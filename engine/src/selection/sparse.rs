//! Bits that get a weight in linear machines with an L1 penalty, and others that fill up.

use std::collections::HashMap;

use super::columns::Columns;
use super::svm::Problem;
use super::{SelectedBit, Taken};

/// Examples by their places, and whether each is on the first side.
pub(super) type Decision = Vec<(usize, bool)>;

/// Selects `count` bits for all decisions together, with the examples of each at so many times the least cost. Where
/// too few have a weight, the same is done again with those that are left, if `fill`; there are fewer where these
/// tell nothing apart, too. One decision keeps the signs of its weights; of several only their sizes add up.
pub(super) fn select(
    width: u32,
    codes: &[&[u8]],
    decisions: &[Decision],
    (cost, fill): (f64, bool),
    count: usize,
) -> Taken {
    let mut taken = Taken::default();
    let mut left: Vec<u32> = (0..width).collect();
    loop {
        let mut weights = vec![0.0; width as usize];
        for decision in decisions {
            let examples: Vec<&[u8]> = decision.iter().map(|(i, _)| codes[*i]).collect();
            let (columns, groups) = columns(&examples, &left);
            let sides: Vec<bool> = decision.iter().map(|(_, side)| *side).collect();
            let Some(problem) = Problem::balanced(&sides).at_cost(cost, &columns) else {
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
        taken.bits.extend(active.iter().map(|bit| SelectedBit {
            bit: *bit,
            weight: weight(bit),
        }));
        left = others;
        if taken.informative == 0 {
            taken.informative = taken.bits.len().min(count);
        }
        if taken.bits.len() >= count || active.is_empty() || !fill {
            taken.bits.truncate(count);
            return taken;
        }
    }
}

/// Bits that say the same of every example of a decision, and those that say the contrary.
pub(super) type Alike = Vec<(u32, bool)>;

/// What each of the `bits` says of some examples, once for all bits that say the same or the contrary. Bits that
/// say the same of all examples tell nothing, and are left out.
///
/// Of few examples, many bits say the same: which of these has the weight is all one to the machine, so all have
/// it.
pub(super) fn columns(examples: &[&[u8]], bits: &[u32]) -> (Columns, Vec<Alike>) {
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

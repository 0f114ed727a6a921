//! Retrieval metrics, one implementation for every part that reports them.
//!
//! Average precision over Hamming distances has a trap: many items share a distance, and the
//! order within a tie decides the figure. Two honest readings are offered here, and their names
//! should stand beside any number that they give:
//!
//! * [`expected_average_precision`]: the mean over every order of each tie (tie-aware AP). It
//!   does not depend on ids or on a sort's stability.
//! * [`average_precision`]: of one given order, for the database's own (distance, id) order.
//!
//! A query that finds nothing relevant counts as 0 and stays in the mean.

/// Expected average precision of a ranked list, over all orders of the items that tie.
///
/// `ranked` holds (key, relevant), best first; keys that compare equal and stand together form a
/// tie: `u32` distances ascending, or `f32` scores descending (the keys are only compared for
/// equality). 0 for a list without a relevant item.
///
/// With a tie of n items, r of them relevant, N items and R relevant ones before it, the tie
/// adds the sum over j = 1..n of `(r/n) * (R + 1 + (j-1)(r-1)/(n-1)) / (N + j)`; the sum over
/// all ties is divided by the number of relevant items.
///
/// ```
/// use bitkin::metrics::expected_average_precision;
/// let ranked = [(3u32, true), (3, false)];
/// assert_eq!(expected_average_precision(&ranked), 0.75); // the mean of 1 and 1/2
/// ```
pub fn expected_average_precision<K: PartialEq>(ranked: &[(K, bool)]) -> f64 {
    let ties = ranked.chunk_by(|a, b| a.0 == b.0).map(|tie| {
        let relevant = tie.iter().filter(|item| item.1).count() as u64;
        (tie.len() as u64, relevant)
    });
    expected_average_precision_of_ties(ties)
}

/// [`expected_average_precision`] from the sizes of the ties alone: (items, relevant items) in
/// order, nearest first. Empty ties may be given.
///
/// A histogram of distances gives these in one pass, with no sort.
pub fn expected_average_precision_of_ties(ties: impl IntoIterator<Item = (u64, u64)>) -> f64 {
    let mut sum = 0.0;
    let (mut items_before, mut relevant_before) = (0u64, 0u64);
    for (items, relevant) in ties {
        if relevant > 0 {
            let share = relevant as f64 / items as f64;
            let slope = if items > 1 {
                (relevant - 1) as f64 / (items - 1) as f64
            } else {
                0.0
            };
            for j in 0..items {
                let hits = (relevant_before + 1) as f64 + j as f64 * slope;
                sum += share * hits / (items_before + j + 1) as f64;
            }
        }
        items_before += items;
        relevant_before += relevant;
    }
    if relevant_before == 0 {
        0.0
    } else {
        sum / relevant_before as f64
    }
}

/// Expected average precision of the first `k` items, over all orders of the items that tie: the
/// mean of [`average_precision_at`]. From the sizes of the ties, nearest first, as
/// [`expected_average_precision_of_ties`] takes them.
///
/// Where `k` parts a tie, of whose n items r are relevant, the number of relevant ones among its
/// first items is hypergeometric; given that number they are again in any order.
pub fn expected_average_precision_of_ties_at(
    ties: impl IntoIterator<Item = (u64, u64)>,
    k: u64,
) -> f64 {
    let mut whole: Vec<(u64, u64)> = Vec::new();
    let mut before = 0;
    for (items, relevant) in ties {
        if before + items <= k {
            before += items;
            whole.push((items, relevant));
            continue;
        }
        let taken = k - before;
        let mean = hypergeometric(items, relevant, taken).map(|(found, chance)| {
            let ties = whole.iter().copied().chain([(taken, found)]);
            chance * expected_average_precision_of_ties(ties)
        });
        return mean.sum();
    }
    expected_average_precision_of_ties(whole)
}

/// Expected share of relevant items among the first `k`, over all orders of the items that tie: the mean of
/// [`precision_at`]. From the sizes of the ties, nearest first; 0 for `k` = 0.
pub fn expected_precision_of_ties_at(ties: impl IntoIterator<Item = (u64, u64)>, k: u64) -> f64 {
    let (mut left, mut hits) = (k, 0.0);
    for (items, relevant) in ties {
        let taken = left.min(items);
        if taken > 0 {
            hits += taken as f64 * (relevant as f64 / items as f64);
        }
        left -= taken;
    }
    if k == 0 { 0.0 } else { hits / k as f64 }
}

/// How many of `taken` out of `items`, `relevant` of them relevant, are so: each number with its
/// chance. What is rarer than one in 10^15 is left out.
fn hypergeometric(items: u64, relevant: u64, taken: u64) -> impl Iterator<Item = (u64, f64)> {
    let least = (taken + relevant).saturating_sub(items);
    let most = relevant.min(taken);
    let mode = (u128::from(taken + 1) * u128::from(relevant + 1) / u128::from(items + 2)) as u64;
    let mode = mode.clamp(least, most);
    // From the most frequent number outwards, each in parts of the one before.
    let step = |x: u64| {
        let (up, down) = ((relevant - x) as f64, (x + 1) as f64);
        up * (taken - x) as f64 / (down * (items + x + 1 - relevant - taken) as f64)
    };
    let mut weights = vec![(mode, 1.0)];
    let mut weight = 1.0;
    for x in mode..most {
        weight *= step(x);
        if weight < 1e-15 {
            break;
        }
        weights.push((x + 1, weight));
    }
    weight = 1.0;
    for x in (least..mode).rev() {
        weight /= step(x);
        if weight < 1e-15 {
            break;
        }
        weights.push((x, weight));
    }
    let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
    weights
        .into_iter()
        .map(move |(x, weight)| (x, weight / sum))
}

/// Expected average precision of one query over a whole database of codes.
///
/// * `distances`: one a database item, each at most `width`.
/// * `relevant`: as many, in the same order.
///
/// Items at a distance beyond `width` are left out, as are those without a counterpart in the
/// other slice.
pub fn expected_average_precision_of_distances(
    distances: &[u32],
    relevant: &[bool],
    width: u32,
) -> f64 {
    let mut ties = vec![(0u64, 0u64); width as usize + 1];
    for (&distance, &relevant) in distances.iter().zip(relevant) {
        if let Some(tie) = ties.get_mut(distance as usize) {
            tie.0 += 1;
            tie.1 += u64::from(relevant);
        }
    }
    expected_average_precision_of_ties(ties)
}

/// Average precision of one given order, best first: the mean, over the relevant items, of the
/// precision at each. 0 when none is relevant.
///
/// Give it the items in (distance, id) order and it is what a user of the database sees.
pub fn average_precision(relevant: impl IntoIterator<Item = bool>) -> f64 {
    let (mut sum, mut hits) = (0.0, 0u64);
    for (rank, relevant) in relevant.into_iter().enumerate() {
        if relevant {
            hits += 1;
            sum += hits as f64 / (rank + 1) as f64;
        }
    }
    if hits == 0 { 0.0 } else { sum / hits as f64 }
}

/// Average precision over the first `k` items (AP@K): divided by the relevant items among those
/// `k`, not by all relevant ones, as the evaluators of the hashing literature do.
pub fn average_precision_at(relevant: impl IntoIterator<Item = bool>, k: usize) -> f64 {
    average_precision(relevant.into_iter().take(k))
}

/// Share of relevant items among the first `k`; the divisor is `k`, also when fewer are given.
/// 0 for `k` = 0.
pub fn precision_at(relevant: impl IntoIterator<Item = bool>, k: usize) -> f64 {
    let hits = relevant
        .into_iter()
        .take(k)
        .filter(|&relevant| relevant)
        .count();
    if k == 0 { 0.0 } else { hits as f64 / k as f64 }
}

/// Mean over queries, for the "m" of mAP; 0 for no queries.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u64);
    for value in values {
        sum += value;
        count += 1;
    }
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Mean of a plain metric over every arrangement of every tie.
    fn by_enumeration(ties: &[(usize, usize)], metric: impl Fn(&[bool]) -> f64) -> f64 {
        fn arrangements(n: usize, r: usize) -> Vec<Vec<bool>> {
            (0..1u32 << n)
                .filter(|bits| bits.count_ones() as usize == r)
                .map(|bits| (0..n).map(|i| bits >> i & 1 == 1).collect())
                .collect()
        }
        let mut lists = vec![Vec::new()];
        for &(n, r) in ties {
            let tails = arrangements(n, r);
            lists = lists
                .iter()
                .flat_map(|list: &Vec<bool>| {
                    tails
                        .iter()
                        .map(move |tail| [&list[..], &tail[..]].concat())
                })
                .collect();
        }
        mean(lists.iter().map(|list| metric(list)))
    }

    proptest! {
        #[test]
        fn expectation_is_the_mean_over_all_orders(
            ties in prop::collection::vec((1usize..6).prop_flat_map(|n| (Just(n), 0..=n)), 0..4)
        ) {
            let expected = by_enumeration(&ties, |list| average_precision(list.iter().copied()));
            let pairs = ties.iter().map(|&(n, r)| (n as u64, r as u64));
            prop_assert!((expected_average_precision_of_ties(pairs) - expected).abs() < 1e-12);

            let ranked: Vec<(f32, bool)> = ties
                .iter()
                .enumerate()
                .flat_map(|(t, &(n, r))| (0..n).map(move |i| (9.0 - t as f32, i >= n - r)))
                .collect();
            prop_assert!((expected_average_precision(&ranked) - expected).abs() < 1e-12);
        }

        #[test]
        fn expectation_at_k_is_the_mean_over_all_orders(
            ties in prop::collection::vec((1usize..6).prop_flat_map(|n| (Just(n), 0..=n)), 0..4),
            k in 0usize..18
        ) {
            let expected = by_enumeration(&ties, |list| average_precision_at(list.iter().copied(), k));
            let pairs = ties.iter().map(|&(n, r)| (n as u64, r as u64));
            let got = expected_average_precision_of_ties_at(pairs, k as u64);
            prop_assert!((got - expected).abs() < 1e-12, "{} {}", got, expected);
        }

        #[test]
        fn precision_at_k_is_the_mean_over_all_orders(
            ties in prop::collection::vec((1usize..6).prop_flat_map(|n| (Just(n), 0..=n)), 0..4),
            k in 0usize..18
        ) {
            let expected = by_enumeration(&ties, |list| precision_at(list.iter().copied(), k));
            let pairs = ties.iter().map(|&(n, r)| (n as u64, r as u64));
            let got = expected_precision_of_ties_at(pairs, k as u64);
            prop_assert!((got - expected).abs() < 1e-12, "{} {}", got, expected);
        }

        #[test]
        fn distances_need_no_sort(
            items in prop::collection::vec((0u32..=12, any::<bool>()), 0..60)
        ) {
            let (distances, relevant): (Vec<u32>, Vec<bool>) = items.iter().copied().unzip();
            let mut ranked = items.clone();
            ranked.sort_by_key(|item| item.0);
            let got = expected_average_precision_of_distances(&distances, &relevant, 12);
            prop_assert!((got - expected_average_precision(&ranked)).abs() < 1e-12);
        }
    }

    #[test]
    fn known_values() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(
            average_precision([true, false, true]),
            (1.0 + 2.0 / 3.0) / 2.0,
        );
        close(average_precision_at([false, true, true], 2), 0.5);
        close(precision_at([true, false, true], 2), 0.5);
        close(precision_at([true], 4), 0.25);
        close(average_precision([false, false]), 0.0);
        close(average_precision([]), 0.0);
        close(mean([]), 0.0);
        close(expected_average_precision::<u32>(&[]), 0.0);
        close(expected_average_precision(&[(1u32, false), (2, true)]), 0.5);
    }
}

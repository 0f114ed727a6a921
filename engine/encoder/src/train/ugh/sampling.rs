//! Pseudo-categories out of unlabelled features by max-min sampling (Dai and Van Gool, ICCV 2013): seeds that
//! lie far apart, and the nearest neighbours of each.

use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::svm::Rows;
use crate::hash::squared_distance;

/// Max: of so many random sets of `categories` rows the one with the largest sum of distances; of equal ones the
/// first.
pub(super) fn seeds(
    rows: Rows<'_>,
    sets: usize,
    categories: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<usize> {
    let mut best = (f32::NEG_INFINITY, Vec::new());
    for _ in 0..sets {
        let set = index::sample(rng, rows.len(), categories).into_vec();
        let mut sum = 0.0;
        for (i, &a) in set.iter().enumerate() {
            let others = set[i + 1..].iter();
            let distances = others.map(|&b| squared_distance(rows.row(a), rows.row(b)).sqrt());
            sum += distances.sum::<f32>();
        }
        if sum > best.0 {
            best = (sum, set);
        }
    }
    best.1
}

/// Min: each seed and the `per_category − 1` nearest rows that no seed before it has claimed; nearest is what has
/// the largest `products` (of vectors of one length) with the seed: a list for each seed, of all rows.
pub(super) fn neighbours(
    seeds: &[usize],
    products: &[Vec<f32>],
    per_category: usize,
) -> Vec<Vec<usize>> {
    let rows = products.first().map_or(0, Vec::len);
    let mut claimed = vec![false; rows];
    seeds.iter().for_each(|&seed| claimed[seed] = true);
    let mut categories = Vec::with_capacity(seeds.len());
    for (&seed, products) in seeds.iter().zip(products) {
        let mut free: Vec<usize> = (0..rows).filter(|row| !claimed[*row]).collect();
        let nearer = |a: &usize, b: &usize| products[*b].total_cmp(&products[*a]).then(a.cmp(b));
        best_first(&mut free, per_category - 1, nearer);
        free.iter().for_each(|&row| claimed[row] = true);
        categories.push([vec![seed], free].concat());
    }
    categories
}

/// Leaves the first so many in order.
pub(super) fn best_first(
    rows: &mut Vec<usize>,
    count: usize,
    order: impl Fn(&usize, &usize) -> std::cmp::Ordering,
) {
    if count < rows.len() {
        rows.select_nth_unstable_by(count, &order);
        rows.truncate(count);
    }
    rows.sort_unstable_by(&order);
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_set_that_lies_farthest_apart_is_found_and_its_neighbours_by_first_claim() {
        // Angles in degrees on a circle: three clusters and one row between two of them.
        let angles: [f32; 8] = [0.0, 2.0, 5.0, 120.0, 121.0, 240.0, 243.0, 60.0];
        let values: Vec<f32> = angles
            .iter()
            .flat_map(|a| [libm::cosf(a.to_radians()), libm::sinf(a.to_radians())])
            .collect();
        let rows = Rows {
            values: &values,
            dim: 2,
        };
        // Enough sets that every one is tried. An equilateral triangle has the largest sum: 0, 120, 240.
        let mut found = seeds(rows, 2000, 3, &mut ChaCha8Rng::seed_from_u64(1));
        found.sort_unstable();
        assert_eq!(found, [0, 3, 5]);

        let product = |a: usize| {
            (0..8)
                .map(|b| crate::hash::dot(rows.row(a), rows.row(b)))
                .collect()
        };
        let seeds = [0, 3, 5];
        let products: Vec<Vec<f32>> = seeds.iter().map(|&s| product(s)).collect();
        // Row 7 is as near to 3 as to 0: the first seed has two nearer ones, the second has only one.
        assert_eq!(
            neighbours(&seeds, &products, 3),
            [vec![0, 1, 2], vec![3, 4, 7], vec![5, 6]]
        );
        // With four rows each, the first claims it.
        assert_eq!(
            neighbours(&[0, 3], &products[..2], 4),
            [vec![0, 1, 2, 7], vec![3, 4, 5, 6]]
        );
        // A seed is no other's neighbour.
        let products = [product(0), product(1)];
        assert_eq!(neighbours(&[0, 1], &products, 2), [vec![0, 2], vec![1, 7]]);
    }
}

//! What the tests of the engine share: seeded codes, and the obvious way to search them.

#![allow(dead_code)] // Each test file uses its own part.

use bitkin::{Answer, Hit};

/// A generator of pseudo-random numbers (splitmix64): seeded, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A uniform code, padding bits zero.
    pub(crate) fn code(&mut self, bits: u32) -> Vec<u8> {
        let mut code: Vec<u8> = (0..bits.div_ceil(8)).map(|_| self.next() as u8).collect();
        if !bits.is_multiple_of(8) {
            *code.last_mut().unwrap() &= (1 << (bits % 8)) - 1;
        }
        code
    }

    /// `rows` codes; where `distinct` is given, drawn from no more than that many, so that
    /// duplicates and ties abound.
    pub(crate) fn codes(
        &mut self,
        bits: u32,
        rows: usize,
        distinct: Option<usize>,
    ) -> Vec<Vec<u8>> {
        let Some(distinct) = distinct else {
            return (0..rows).map(|_| self.code(bits)).collect();
        };
        let pool: Vec<Vec<u8>> = (0..distinct).map(|_| self.code(bits)).collect();
        (0..rows)
            .map(|_| pool[self.below(distinct)].clone())
            .collect()
    }

    /// Distinct ids, in no order.
    pub(crate) fn ids(&mut self, rows: usize, spread: u64) -> Vec<u64> {
        let mut ids = std::collections::BTreeSet::new();
        while ids.len() < rows {
            ids.insert(self.next() % spread);
        }
        let mut ids: Vec<u64> = ids.into_iter().collect();
        for i in (1..ids.len()).rev() {
            ids.swap(i, self.below(i + 1));
        }
        ids
    }
}

/// Bit by bit.
pub(crate) fn distance(a: &[u8], b: &[u8]) -> u32 {
    (0..a.len() * 8)
        .filter(|i| (a[i / 8] ^ b[i / 8]) >> (i % 8) & 1 == 1)
        .count() as u32
}

/// Every row sorted by (distance, id), cut at the radius and at k.
pub(crate) fn naive(
    rows: &[(u64, Vec<u8>)],
    query: &[u8],
    k: Option<usize>,
    radius: Option<u32>,
) -> Answer {
    let mut hits: Vec<Hit> = rows
        .iter()
        .map(|(id, code)| Hit {
            id: *id,
            distance: distance(query, code),
        })
        .collect();
    hits.sort_by_key(|hit| (hit.distance, hit.id));
    hits.retain(|hit| radius.is_none_or(|radius| hit.distance <= radius));
    let full = k.is_some_and(|k| hits.len() >= k);
    if let Some(k) = k {
        hits.truncate(k);
    }
    let certified_radius = if full {
        hits.last().map(|hit| hit.distance)
    } else {
        Some(radius.unwrap_or(query.len() as u32 * 8))
    };
    let mut answer = Answer::default();
    answer.hits = hits;
    answer.certified_radius = certified_radius;
    answer
}

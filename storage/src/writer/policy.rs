//! Which segments are merged: size-tiered, within a limit, and such as are half deleted.

/// Segments of like size that are merged into one; also how much larger the next tier is.
const FAN: usize = 4;
/// Segments of fewer bytes are of one tier.
const SMALLEST_TIER: u64 = 4 << 20;
/// A segment is rewritten when more than one row in so many is deleted.
const DELETED_SHARE: u64 = 3;

/// What the policy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) number: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
    pub(super) rows: u64,
    /// Rows that are not deleted.
    pub(super) live: u64,
}

impl Candidate {
    /// About what the file would take without the deleted rows.
    fn live_bytes(&self) -> u64 {
        (u128::from(self.bytes) * u128::from(self.live) / u128::from(self.rows.max(1))) as u64
    }

    /// Segments of one tier are of like size: within a factor of [`FAN`].
    fn tier(&self) -> u32 {
        let ratio = self.live_bytes() / SMALLEST_TIER;
        match ratio {
            0 => 0,
            _ => 1 + ratio.ilog(FAN as u64),
        }
    }

    fn is_worth_rewriting(&self) -> bool {
        (self.rows - self.live) * DELETED_SHARE > self.rows
    }
}

/// The segments to be merged next, by their numbers; empty if all is well.
///
/// `most_bytes` bounds what one merge writes, and 2³² its rows; a segment that is larger by itself is
/// left alone until it is rewritten for its deleted rows. Each row is written again about log4(all / smallest tier) times.
pub(super) fn choose(candidates: &[Candidate], most_bytes: u64) -> Vec<u64> {
    let mut candidates = candidates.to_vec();
    candidates.sort_unstable_by_key(|c| (c.tier(), c.live_bytes(), c.number));
    // The smallest tier that is full, and of it as many as the limits allow.
    for tier in candidates.chunk_by(|a, b| a.tier() == b.tier()) {
        if tier.len() < FAN {
            continue;
        }
        let chosen = within_limits(tier, most_bytes);
        if chosen.len() > 1 {
            return chosen;
        }
    }
    let half_deleted = candidates.iter().find(|c| c.is_worth_rewriting());
    half_deleted.map(|c| c.number).into_iter().collect()
}

/// The first of `candidates` that together stay within the limits.
fn within_limits(candidates: &[Candidate], most_bytes: u64) -> Vec<u64> {
    let (mut bytes, mut rows) = (0, 0);
    let mut chosen = Vec::new();
    for candidate in candidates {
        bytes += candidate.live_bytes();
        rows += candidate.live;
        if bytes > most_bytes || rows >= u64::from(u32::MAX) {
            break;
        }
        chosen.push(candidate.number);
    }
    chosen
}

/// How all segments of a collection are made as few as can be, without a deleted row: groups of
/// segments, each to be merged into one.
pub(super) fn all(candidates: &[Candidate]) -> Vec<Vec<u64>> {
    let mut groups: Vec<(u64, bool, Vec<u64>)> = Vec::new();
    for candidate in candidates {
        let clean = candidate.live == candidate.rows;
        match groups.last_mut() {
            Some((rows, _, group)) if *rows + candidate.live < u64::from(u32::MAX) => {
                *rows += candidate.live;
                group.push(candidate.number);
            }
            _ => groups.push((candidate.live, clean, vec![candidate.number])),
        }
    }
    groups.retain(|(_, clean, group)| !*clean || group.len() > 1);
    groups.into_iter().map(|(_, _, group)| group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const MIB: u64 = 1 << 20;

    fn segment(number: u64, mib: u64, deleted_percent: u64) -> Candidate {
        let rows = mib * 1000;
        Candidate {
            number,
            bytes: mib * MIB,
            rows,
            live: rows - rows * deleted_percent / 100,
        }
    }

    #[test]
    fn four_of_like_size_are_merged_and_three_are_not() {
        let mut segments = vec![segment(1, 64, 0), segment(2, 70, 0), segment(3, 60, 0)];
        assert!(choose(&segments, u64::MAX).is_empty());
        segments.push(segment(4, 1000, 0));
        assert!(choose(&segments, u64::MAX).is_empty());
        segments.push(segment(5, 62, 0));
        let mut chosen = choose(&segments, u64::MAX);
        chosen.sort_unstable();
        // 60 MiB are of the tier below 64.
        assert!(chosen.is_empty() || chosen.len() >= FAN, "{chosen:?}");
        segments.push(segment(6, 100, 0));
        segments.push(segment(7, 101, 0));
        let mut chosen = choose(&segments, u64::MAX);
        chosen.sort_unstable();
        assert_eq!(chosen, [1, 2, 6, 7]);
    }

    #[test]
    fn small_segments_are_of_one_tier() {
        let segments: Vec<Candidate> = (0..4)
            .map(|n| Candidate {
                number: n,
                bytes: 10 << (3 * n),
                rows: 1,
                live: 1,
            })
            .collect();
        assert_eq!(choose(&segments, u64::MAX).len(), 4);
    }

    #[test]
    fn a_segment_of_which_a_third_is_deleted_is_rewritten_alone() {
        assert_eq!(
            choose(&[segment(1, 500, 40), segment(2, 3, 10)], u64::MAX),
            [1]
        );
        assert!(choose(&[segment(1, 500, 30)], u64::MAX).is_empty());
        // Wholly deleted ones go too.
        assert_eq!(choose(&[segment(9, 500, 100)], u64::MAX), [9]);
    }

    #[test]
    fn no_merge_is_larger_than_the_limits() {
        let segments: Vec<Candidate> = (0..8).map(|n| segment(n, 100, 0)).collect();
        assert_eq!(choose(&segments, 350 * MIB).len(), 3);
        assert!(choose(&segments, 150 * MIB).is_empty());
        assert!(choose(&segments, 50 * MIB).is_empty());
        let many = Candidate {
            number: 0,
            bytes: 40 * MIB,
            rows: 1 << 31,
            live: 1 << 31,
        };
        let many: Vec<Candidate> = (0..4).map(|number| Candidate { number, ..many }).collect();
        assert!(
            choose(&many, u64::MAX).is_empty(),
            "two of them have 2^32 rows"
        );
    }

    #[test]
    fn all_makes_one_of_many_and_leaves_a_clean_one_alone() {
        assert_eq!(all(&[segment(1, 5, 0), segment(2, 500, 0)]), [[1, 2]]);
        assert_eq!(all(&[segment(1, 5, 1)]), [[1]]);
        assert!(all(&[segment(1, 5, 0)]).is_empty());
        assert!(all(&[]).is_empty());
        let many = Candidate {
            number: 1,
            bytes: 1,
            rows: 1 << 31,
            live: 1 << 31,
        };
        assert!(all(&[many, Candidate { number: 2, ..many }]).is_empty());
    }

    /// Rows come in flushes of one size for a long time: what is written stays within the logarithm.
    #[test]
    fn writing_amplifies_logarithmically() {
        let mut segments: VecDeque<Candidate> = VecDeque::new();
        let (mut written, mut number) = (0, 0);
        const FLUSHES: u64 = 1024;
        for _ in 0..FLUSHES {
            number += 1;
            segments.push_back(segment(number, 32, 0));
            written += 32;
            loop {
                let chosen = choose(segments.make_contiguous(), u64::MAX);
                if chosen.is_empty() {
                    break;
                }
                let (merged, kept): (Vec<_>, Vec<_>) = segments
                    .into_iter()
                    .partition(|c| chosen.contains(&c.number));
                segments = kept.into();
                number += 1;
                let mib = merged.iter().map(|c| c.bytes / MIB).sum();
                written += mib;
                segments.push_back(segment(number, mib, 0));
            }
            assert!(segments.len() <= 3 * 7, "{segments:?}");
        }
        assert!(written <= 32 * FLUSHES * 7, "{written}");
    }
}

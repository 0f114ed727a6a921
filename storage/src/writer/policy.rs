//! Which segments are merged: size-tiered, few in all, within a limit, and such as are half deleted.

/// How much larger the segments of the next tier are.
const RATIO: u64 = 4;
/// Segments of one tier that are merged into one. More mean less writing and more segments to search.
const FAN: usize = 8;
/// Segments of fewer bytes are of one tier.
const SMALLEST_TIER: u64 = 4 << 20;
/// So many segments of a collection are let be, however small they are.
const FEWEST_BOUND: usize = 8;
/// How far below the bound a merge brings their number that is done for the bound, so that not each
/// flush calls for another.
const SPARE: usize = 1;
/// A segment has fewer rows.
const MOST_ROWS: u64 = u32::MAX as u64;
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

    /// Segments of one tier are of like size: within a factor of [`RATIO`].
    fn tier(&self) -> u32 {
        tier_of(self.live_bytes())
    }

    fn is_worth_rewriting(&self) -> bool {
        (self.rows - self.live) * DELETED_SHARE > self.rows
    }
}

fn tier_of(bytes: u64) -> u32 {
    match bytes / SMALLEST_TIER {
        0 => 0,
        ratio => 1 + ratio.ilog(RATIO),
    }
}

/// The segments to be merged next, by their numbers; empty if all is well.
///
/// A merge is due when [`FAN`] segments are of one tier, or when there are more than [`bound`] in all.
/// It takes the segments of that tier and all smaller ones, and those of larger tiers too if its output
/// would fill one: they need not be written twice then. Each row is written again about log4(n)
/// times over n flushes of one size, and less often over few.
///
/// `most_bytes` bounds what one merge writes, and 2³² its rows. A segment of more than half of either is
/// left alone until it is rewritten for its deleted rows, and counts for nothing else.
pub(super) fn choose(candidates: &[Candidate], most_bytes: u64) -> Vec<u64> {
    let is_open = |c: &&Candidate| c.live_bytes() <= most_bytes / 2 && c.live < MOST_ROWS / 2;
    let mut open: Vec<Candidate> = candidates.iter().filter(is_open).copied().collect();
    open.sort_unstable_by_key(|c| (c.live_bytes(), c.number));
    // As many of the smallest are merged.
    let mut count = full_tier(&open).or_else(|| above_bound(&open)).unwrap_or(0);
    while let Some(more) = carried(&open, count) {
        count = more;
    }
    if count > 1 {
        // What does not fit any more leaves an output of more than half the limit: never again written.
        return within_limits(&open[..count], most_bytes);
    }
    let half_deleted = candidates.iter().filter(|c| c.is_worth_rewriting());
    let smallest = half_deleted.min_by_key(|c| (c.live_bytes(), c.number));
    smallest.map(|c| c.number).into_iter().collect()
}

/// How many of these segments, ascending by size, are of this tier or a smaller one.
fn up_to(open: &[Candidate], tier: u32) -> usize {
    open.partition_point(|c| c.tier() <= tier)
}

/// The segments up to the smallest tier of which there are enough.
fn full_tier(open: &[Candidate]) -> Option<usize> {
    let mut tiers = open.chunk_by(|a, b| a.tier() == b.tier());
    let full = tiers.find(|tier| tier.len() >= FAN)?;
    Some(up_to(open, full.first()?.tier()))
}

/// The segments up to the smallest tier that must go for the number of all to be well within the bound.
fn above_bound(open: &[Candidate]) -> Option<usize> {
    let largest = open.last()?.tier();
    let bound = bound(largest);
    if open.len() <= bound {
        return None;
    }
    (0..=largest)
        .map(|tier| up_to(open, tier))
        .find(|&count| count > 1 && open.len() - count + 1 + SPARE <= bound)
}

/// The most segments that are let be. Full tiers alone would allow 3 of each, which sustained ingest
/// seldom leaves, and a search pays for each of them.
fn bound(largest_tier: u32) -> usize {
    FEWEST_BOUND.max(2 * (1 + largest_tier as usize))
}

/// The segments up to the tier that the output of merging the first `count` would fill.
fn carried(open: &[Candidate], count: usize) -> Option<usize> {
    let output: u64 = open[..count].iter().map(Candidate::live_bytes).sum();
    let more = up_to(open, tier_of(output)).max(count);
    (count > 0 && more > count && more - count + 1 >= FAN).then_some(more)
}

/// The first of `candidates` that together stay within the limits.
fn within_limits(candidates: &[Candidate], most_bytes: u64) -> Vec<u64> {
    let (mut bytes, mut rows) = (0, 0);
    let mut chosen = Vec::new();
    for candidate in candidates {
        bytes += candidate.live_bytes();
        rows += candidate.live;
        if bytes > most_bytes || rows >= MOST_ROWS {
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

    fn segments(mib: &[u64]) -> Vec<Candidate> {
        let numbered = mib.iter().zip(1..);
        numbered.map(|(&mib, n)| segment(n, mib, 0)).collect()
    }

    #[test]
    fn eight_of_like_size_are_merged_and_seven_are_not() {
        let mut sizes = vec![64, 70, 65, 1000, 100, 101, 255, 150];
        assert!(choose(&segments(&sizes), u64::MAX).is_empty());
        sizes.push(90);
        // Within the bound for such large ones.
        sizes.push(60);
        let mut chosen = choose(&segments(&sizes), u64::MAX);
        chosen.sort_unstable();
        // With the one that is smaller, of the tier below.
        assert_eq!(chosen, [1, 2, 3, 5, 6, 7, 8, 9, 10]);
        sizes[8] = 1000;
        assert!(choose(&segments(&sizes), u64::MAX).is_empty());
    }

    #[test]
    fn small_segments_are_of_one_tier() {
        let segments: Vec<Candidate> = (0..8)
            .map(|n| Candidate {
                number: n,
                bytes: 10 << (2 * n),
                rows: 1,
                live: 1,
            })
            .collect();
        assert_eq!(choose(&segments, u64::MAX).len(), 8);
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
        // Two are too much: however many there are, they are left alone.
        let segments: Vec<Candidate> = (0..20).map(|n| segment(n, 100, 0)).collect();
        assert!(choose(&segments, 199 * MIB).is_empty());
        assert!(choose(&segments, 50 * MIB).is_empty());
        let many = Candidate {
            number: 0,
            bytes: 40 * MIB,
            rows: 1 << 31,
            live: 1 << 31,
        };
        let many: Vec<Candidate> = (0..8).map(|number| Candidate { number, ..many }).collect();
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

    /// What comes of flushes of these sizes, each followed by all merges that are due: the segments that
    /// are left, the most that ever were left, and the bytes that were written for each flushed.
    fn ingest(flushes: impl IntoIterator<Item = u64>) -> (Vec<Candidate>, usize, f64) {
        let mut segments: Vec<Candidate> = Vec::new();
        let (mut flushed, mut written, mut number, mut most) = (0, 0, 0, 0);
        for bytes in flushes {
            let mut add = |segments: &mut Vec<Candidate>, bytes| {
                number += 1;
                written += bytes;
                segments.push(Candidate {
                    number,
                    bytes,
                    rows: bytes / 16,
                    live: bytes / 16,
                });
            };
            flushed += bytes;
            add(&mut segments, bytes);
            loop {
                let chosen = choose(&segments, u64::MAX);
                if chosen.is_empty() {
                    break;
                }
                assert!(chosen.len() > 1, "nothing is deleted");
                let is_chosen = |c: &Candidate| chosen.contains(&c.number);
                let bytes = segments.iter().filter(|c| is_chosen(c)).map(|c| c.bytes);
                let bytes = bytes.sum();
                segments.retain(|c| !is_chosen(c));
                add(&mut segments, bytes);
            }
            most = most.max(segments.len());
        }
        (segments, most, written as f64 / flushed as f64)
    }

    /// Flushes of 2¹⁶ rows of 64 bits until there are 10 million, or of sizes that vary as they like.
    #[test]
    fn an_ingest_leaves_few_segments_and_is_written_few_times() {
        let (segments, most, written) = ingest(vec![1_200_000; 160]);
        assert!(most <= 8, "{most}");
        assert!(written < 3.2, "{written}");
        let largest = segments.iter().map(|c| c.bytes).max();
        assert!(largest > Some(160 * 1_200_000 / 4), "{segments:?}");

        let varied = (0..400_u64).map(|n| 1_200_000 * [1, 8, 2, 1, 30][(n * n % 11 % 5) as usize]);
        let (_, most, written) = ingest(varied);
        assert!(most <= 12, "{most}");
        assert!(written < 4.0, "{written}");
    }

    #[test]
    fn more_segments_than_the_bound_are_merged_though_no_tier_is_full() {
        let mut sizes = vec![1, 2, 3, 4, 5, 6, 16, 17];
        assert!(choose(&segments(&sizes), u64::MAX).is_empty());
        sizes.push(70);
        // The smallest three would leave 7, one less than the bound.
        assert_eq!(choose(&segments(&sizes), u64::MAX), [1, 2, 3]);
        // Two tiers must go here.
        let sizes = [1, 2, 4, 5, 6, 16, 17, 18, 70];
        assert_eq!(choose(&segments(&sizes), u64::MAX), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_merge_that_fills_the_next_tier_does_that_one_too() {
        let sizes = [5, 5, 5, 5, 5, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1000];
        assert!(choose(&segments(&[&sizes[..7], &sizes[14..]].concat()), u64::MAX).is_empty());
        let mut all = sizes.to_vec();
        all.push(2);
        let chosen = choose(&segments(&all), u64::MAX);
        assert_eq!(chosen.len(), 15, "{chosen:?}");
        assert!(!chosen.contains(&15), "{chosen:?}");
    }

    /// Rows come in flushes of one size for a long time: what is written stays within the logarithm.
    #[test]
    fn writing_amplifies_logarithmically() {
        let (_, most, written) = ingest(vec![32 * MIB; 1024]);
        assert!(most <= 16, "{most}");
        assert!(written <= 5.0, "{written}");
        let (_, most, written) = ingest(vec![MIB; 16_000]);
        assert!(most <= 14, "{most}");
        assert!(written <= 8.0, "{written}");
    }
}

//! The masks of shells: which bits of a key are flipped.

use std::sync::OnceLock;

use super::shape::MOST_KEY_BITS;

/// The greatest distance of a shell. Beyond, there are more keys than a scan would have rows.
pub(crate) const MOST_DISTANCE: u32 = 6;

/// Keys in the shell at `distance` of a key of `key_bits` bits.
pub(crate) fn count(key_bits: u32, distance: u32) -> u64 {
    if distance > key_bits {
        return 0;
    }
    let factors = (0..u64::from(distance)).map(|i| (u64::from(key_bits) - i, i + 1));
    factors.fold(1, |product, (up, down)| product * up / down)
}

/// All numbers of `key_bits` bits of which `distance` are set, ascending: what is flipped last lies
/// farthest away. `None` for shells that nobody should look at.
pub(crate) fn masks(key_bits: u32, distance: u32) -> Option<&'static [u32]> {
    const ROW: usize = MOST_DISTANCE as usize + 1;
    static KNOWN: [OnceLock<Box<[u32]>>; (MOST_KEY_BITS as usize + 1) * ROW] =
        [const { OnceLock::new() }; (MOST_KEY_BITS as usize + 1) * ROW];
    if key_bits > MOST_KEY_BITS || distance > MOST_DISTANCE.min(key_bits) {
        return None;
    }
    let known = KNOWN.get(key_bits as usize * ROW + distance as usize)?;
    Some(known.get_or_init(|| {
        let mut masks = Vec::with_capacity(count(key_bits, distance) as usize);
        let mut mask = (1_u64 << distance) - 1;
        while mask < 1 << key_bits {
            masks.push(mask as u32);
            if mask == 0 {
                break;
            }
            // The next number with as many bits set.
            let lowest = mask & mask.wrapping_neg();
            let ripple = mask + lowest;
            mask = ripple | (mask ^ ripple) >> (2 + mask.trailing_zeros());
        }
        masks.into()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_has_every_key_at_its_distance_once() {
        for key_bits in [1, 2, 5, 11, 16] {
            for distance in 0..=MOST_DISTANCE.min(key_bits) {
                let expected: Vec<u32> = (0..1 << key_bits)
                    .filter(|mask: &u32| mask.count_ones() == distance)
                    .collect();
                assert_eq!(masks(key_bits, distance).unwrap(), expected);
                assert_eq!(count(key_bits, distance), expected.len() as u64);
            }
        }
        assert_eq!(masks(16, MOST_DISTANCE + 1), None);
        assert_eq!(masks(3, 4), None);
        assert_eq!(count(28, 6), 376_740);
        assert_eq!(count(5, 6), 0);
    }
}

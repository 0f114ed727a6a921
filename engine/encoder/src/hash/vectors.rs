//! Products and distances of vectors: f32 in a fixed order, whatever the machine.

/// The term of every row of a matrix and every vector: for each vector its numbers by rows. A few vectors share
/// each pass over the matrix.
pub(crate) fn with_rows<T: Term>(matrix: &[f32], vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        /// # Safety
        /// The processor must have AVX2.
        #[target_feature(enable = "avx2")]
        unsafe fn wide<T: Term>(matrix: &[f32], vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
            with_rows_here::<T>(matrix, vectors)
        }
        // SAFETY: the processor has AVX2. Sums are the same with it: each product and each sum is rounded
        // as without.
        return unsafe { wide::<T>(matrix, vectors) };
    }
    with_rows_here::<T>(matrix, vectors)
}

/// [`with_rows`] with the instructions of whoever calls.
#[inline(always)]
fn with_rows_here<T: Term>(matrix: &[f32], vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let width = vectors.first().map_or(1, Vec::len).max(1);
    let mut numbers = vec![Vec::with_capacity(matrix.len() / width); vectors.len()];
    for row in matrix.chunks_exact(width) {
        for (numbers, vector) in numbers.iter_mut().zip(vectors) {
            numbers.push(T::of(row, vector));
        }
    }
    numbers
}

/// (f − c) / ‖f − c‖, or zeros where f = c.
pub(crate) fn normalise(feature: &[f32], centre: &[f32]) -> Vec<f32> {
    let mut e = centred(feature, centre);
    to_unit_length(&mut e);
    e
}

/// The direction of a vector, or zeros.
pub(crate) fn unit(vector: &[f32]) -> Vec<f32> {
    let mut unit = vector.to_vec();
    to_unit_length(&mut unit);
    unit
}

pub(super) fn centred(feature: &[f32], centre: &[f32]) -> Vec<f32> {
    feature.iter().zip(centre).map(|(f, c)| f - c).collect()
}

pub(super) fn to_unit_length(e: &mut [f32]) {
    let length = dot(e, e).sqrt();
    if length > 0.0 {
        e.iter_mut().for_each(|v| *v /= length);
    }
}

/// Independent sums, so that the compiler can use vector registers without changing the order.
const LANES: usize = 16;

#[inline(always)]
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(&x, &y)| term(x, y))
        .sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += term(x[i], y[i]);
        }
    }
    // The compiler would otherwise keep the lanes as the last sums want them: by twos.
    let mut lanes = std::hint::black_box(lanes);
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + tail
}

/// What is reckoned of two vectors. A type and not a closure, which would not be inlined into functions
/// for wider instructions.
pub(crate) trait Term {
    fn of(a: &[f32], b: &[f32]) -> f32;
}

pub(crate) struct Dot;

impl Term for Dot {
    #[inline(always)]
    fn of(a: &[f32], b: &[f32]) -> f32 {
        sum_of(a, b, |x, y| x * y)
    }
}

pub(crate) struct SquaredDistance;

impl Term for SquaredDistance {
    #[inline(always)]
    fn of(a: &[f32], b: &[f32]) -> f32 {
        sum_of(a, b, |x, y| (x - y) * (x - y))
    }
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    Dot::of(a, b)
}

pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    SquaredDistance::of(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes are the same on every machine.
    #[test]
    fn wide_instructions_give_the_same_bits() {
        let number = |i: usize| ((i * 7919) % 1009) as f32 / 503.0 - 1.0;
        for width in [1, 15, 16, 37, 256] {
            let matrix: Vec<f32> = (0..11 * width).map(number).collect();
            let vectors: Vec<Vec<f32>> = (0..5)
                .map(|v| (0..width).map(|i| number(i * 31 + v)).collect())
                .collect();
            let plain = with_rows_here::<Dot>(&matrix, &vectors);
            assert_eq!(with_rows::<Dot>(&matrix, &vectors), plain);
            let plain = with_rows_here::<SquaredDistance>(&matrix, &vectors);
            assert_eq!(with_rows::<SquaredDistance>(&matrix, &vectors), plain);
        }
    }
}

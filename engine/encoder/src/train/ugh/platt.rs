//! Platt's scaling: the sigmoid that turns responses into probabilities (Platt 1999), by the Newton method with
//! backtracking of Lin, Lin and Weng (Machine Learning, 2007).

/// The probability is σ(slope · response + offset).
#[derive(Clone, Copy, Debug)]
pub(super) struct Sigmoid {
    pub(super) slope: f64,
    pub(super) offset: f64,
}

impl Sigmoid {
    /// The sigmoid of the greatest likelihood for responses and whether each should be above one half; the
    /// targets are smoothed by how many there are of each. None where all should be the same.
    pub(super) fn fit(responses: &[f64], targets: &[bool]) -> Option<Sigmoid> {
        let above = targets.iter().filter(|t| **t).count();
        let below = targets.len() - above;
        if above == 0 || below == 0 {
            return None;
        }
        let smoothed = |target: &bool| match target {
            true => (above as f64 + 1.0) / (above as f64 + 2.0),
            false => 1.0 / (below as f64 + 2.0),
        };
        let targets: Vec<f64> = targets.iter().map(smoothed).collect();
        let mut sigmoid = Sigmoid {
            slope: 0.0,
            offset: libm::log((above as f64 + 1.0) / (below as f64 + 1.0)),
        };
        const STEPS: usize = 100;
        let mut value = sigmoid.loss(responses, &targets);
        for _ in 0..STEPS {
            // A ridge, as there, so that the system can be solved.
            let (mut a, mut b, mut c) = (1e-12, 0.0, 1e-12);
            let (mut of_slope, mut of_offset) = (0.0, 0.0);
            for (response, target) in responses.iter().zip(&targets) {
                let p = probability(sigmoid.at(*response));
                let curve = p * (1.0 - p);
                a += curve * response * response;
                b += curve * response;
                c += curve;
                of_slope += (p - target) * response;
                of_offset += p - target;
            }
            if of_slope.abs() < 1e-8 && of_offset.abs() < 1e-8 {
                break;
            }
            let determinant = a * c - b * b;
            let by_slope = -(c * of_slope - b * of_offset) / determinant;
            let by_offset = -(a * of_offset - b * of_slope) / determinant;
            let promised = of_slope * by_slope + of_offset * by_offset;
            let mut share = 1.0;
            loop {
                let next = Sigmoid {
                    slope: sigmoid.slope + share * by_slope,
                    offset: sigmoid.offset + share * by_offset,
                };
                let found = next.loss(responses, &targets);
                if found < value + 1e-4 * share * promised {
                    (sigmoid, value) = (next, found);
                    break;
                }
                share /= 2.0;
                if share < 1e-10 {
                    return Some(sigmoid);
                }
            }
        }
        Some(sigmoid)
    }

    fn at(self, response: f64) -> f64 {
        self.slope * response + self.offset
    }

    /// The negative log likelihood.
    fn loss(self, responses: &[f64], targets: &[f64]) -> f64 {
        let losses = responses.iter().zip(targets).map(|(response, target)| {
            let z = self.at(*response);
            // log(1 + exp(z)) − target z, of which neither term overflows.
            z.max(0.0) + libm::log1p(libm::exp(-z.abs())) - target * z
        });
        losses.sum()
    }
}

fn probability(z: f64) -> f64 {
    let small = libm::exp(-z.abs());
    if z >= 0.0 {
        1.0 / (1.0 + small)
    } else {
        small / (1.0 + small)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sigmoid_on_a_grid_is_better_and_the_slopes_are_zero() {
        let responses: Vec<f64> = (0..40).map(|i| f64::from(i) * 0.1 - 1.2).collect();
        // Mostly above where the response is above 0.6.
        let targets: Vec<bool> = (0..40).map(|i| (i > 18) != (i % 7 == 0)).collect();
        let sigmoid = Sigmoid::fit(&responses, &targets).unwrap();
        let above = targets.iter().filter(|t| **t).count() as f64;
        let below = 40.0 - above;
        let target = |t: &bool| {
            if *t {
                (above + 1.0) / (above + 2.0)
            } else {
                1.0 / (below + 2.0)
            }
        };
        let smooth: Vec<f64> = targets.iter().map(target).collect();
        let loss = |slope, offset| Sigmoid { slope, offset }.loss(&responses, &smooth);
        let best = loss(sigmoid.slope, sigmoid.offset);
        for i in -60..60 {
            for j in -60..60 {
                let there = loss(
                    sigmoid.slope + f64::from(i) * 0.05,
                    sigmoid.offset + f64::from(j) * 0.05,
                );
                assert!(best <= there, "{i} {j}");
            }
        }
        let h = 1e-5;
        let slope = (loss(sigmoid.slope + h, sigmoid.offset)
            - loss(sigmoid.slope - h, sigmoid.offset))
            / (2.0 * h);
        assert!(slope.abs() < 1e-4, "{slope}");
        // The loss written out.
        let plain: f64 = responses
            .iter()
            .zip(&smooth)
            .map(|(r, t)| {
                let p = 1.0 / (1.0 + (-sigmoid.at(*r)).exp());
                -(t * p.ln() + (1.0 - t) * (1.0 - p).ln())
            })
            .sum();
        assert!((plain - best).abs() < 1e-9);
    }

    #[test]
    fn extreme_responses_stay_finite_and_one_sided_targets_have_no_sigmoid() {
        let sigmoid = Sigmoid::fit(&[-1e6, -1e5, 1e5, 1e6], &[false, false, true, true]).unwrap();
        assert!(sigmoid.slope > 0.0 && sigmoid.slope.is_finite() && sigmoid.offset.is_finite());
        let contrary = Sigmoid::fit(&[-1.0, -0.5, 0.5, 1.0], &[true, true, false, false]).unwrap();
        assert!(contrary.slope < 0.0);
        assert!(Sigmoid::fit(&[1.0, 2.0], &[true, true]).is_none());
        assert!(Sigmoid::fit(&[], &[]).is_none());
    }
}

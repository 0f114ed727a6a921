//! A linear support vector machine with an L1 penalty and squared hinge loss, over examples that are ±1 in
//! every dimension:
//!
//! min ‖w‖₁ + Σᵢ Cᵢ max(0, 1 − yᵢ (wᵀxᵢ + b))²
//!
//! Solved by coordinate descent with one-dimensional Newton steps (Yuan, Chang, Hsieh and Lin, JMLR 2010), over
//! a working set that grows by the columns that break the optimality conditions most. Everything is done in a
//! fixed order.

use super::columns::Columns;

/// Largest violation of the optimality conditions that is let be; the penalty's own slope is 1.
const TOLERANCE: f64 = 1e-4;

/// Which side each example is on, and what it costs on the wrong one.
pub(super) struct Problem {
    pub(super) y: Vec<f64>,
    pub(super) costs: Vec<f64>,
}

/// A dimension of the working set.
struct Working {
    column: usize,
    weight: f64,
    /// yᵢ xᵢⱼ.
    signs: Vec<f64>,
}

impl Problem {
    /// Both sides cost the same in all, and an example 1 on average.
    pub(super) fn balanced(sides: &[bool]) -> Problem {
        let first = sides.iter().filter(|side| **side).count();
        let share = |side: bool| {
            let examples = if side { first } else { sides.len() - first };
            sides.len() as f64 / 2.0 / examples as f64
        };
        Problem {
            y: sides
                .iter()
                .map(|&side| if side { 1.0 } else { -1.0 })
                .collect(),
            costs: sides.iter().map(|&side| share(side)).collect(),
        }
    }

    /// The problem with all costs times so many times the least at which a column gets a weight; none where no
    /// column would at any cost.
    pub(super) fn at_cost(&self, times: f64, columns: &Columns) -> Option<Problem> {
        // Without weights the best bias is 0, since both sides cost the same: every slack is 1.
        let v: Vec<f64> = self
            .costs
            .iter()
            .zip(&self.y)
            .map(|(c, y)| -2.0 * c * y)
            .collect();
        let slopes = columns.products(&v).into_iter();
        let steepest = slopes.fold(0.0f64, |most, slope| most.max(slope.abs()));
        // What rounding leaves of a slope of 0.
        if steepest <= 1e-9 * self.y.len() as f64 {
            return None;
        }
        let cost = times / steepest;
        Some(Problem {
            y: self.y.clone(),
            costs: self.costs.iter().map(|c| c * cost).collect(),
        })
    }

    /// The columns whose weight is not zero, in order, and their weights.
    pub(super) fn solve(&self, columns: &Columns) -> Vec<(usize, f64)> {
        self.descend(columns).1
    }

    /// The bias, and the weights that are not zero.
    pub(super) fn descend(&self, columns: &Columns) -> (f64, Vec<(usize, f64)>) {
        /// Far more than is ever needed: every turn ends at a lower objective.
        const MOST_TURNS: usize = 1000;
        let mut slack = vec![1.0; self.y.len()];
        let mut bias = 0.0;
        let mut working: Vec<Working> = Vec::new();
        let mut is_working = vec![false; columns.len()];
        for _ in 0..MOST_TURNS {
            self.over_working(&mut working, &mut bias, &mut slack);
            let v: Vec<f64> = (0..slack.len())
                .map(|i| -2.0 * self.costs[i] * self.y[i] * slack[i].max(0.0))
                .collect();
            let mut broken: Vec<(f64, usize)> = columns
                .products(&v)
                .into_iter()
                .map(|slope| slope.abs() - 1.0)
                .zip(0..)
                .filter(|(by, j)| *by > TOLERANCE && !is_working[*j])
                .collect();
            if broken.is_empty() {
                break;
            }
            broken.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            broken.truncate(self.y.len().max(16));
            for (_, column) in broken {
                is_working[column] = true;
                let mut signs = columns.signs(column);
                signs.iter_mut().zip(&self.y).for_each(|(x, y)| *x *= y);
                working.push(Working {
                    column,
                    weight: 0.0,
                    signs,
                });
            }
        }
        let mut weights: Vec<(usize, f64)> = working
            .iter()
            .filter(|w| w.weight != 0.0)
            .map(|w| (w.column, w.weight))
            .collect();
        weights.sort_by_key(|(column, _)| *column);
        (bias, weights)
    }

    /// Goes through the working set until its optimality conditions hold.
    fn over_working(&self, working: &mut [Working], bias: &mut f64, slack: &mut [f64]) {
        const MOST_PASSES: usize = 1000;
        for _ in 0..MOST_PASSES {
            // The bias has no penalty.
            let mut worst = self.step(&self.y, bias, 0.0, slack);
            for w in working.iter_mut() {
                worst = worst.max(self.step(&w.signs, &mut w.weight, 1.0, slack));
            }
            if worst <= TOLERANCE / 2.0 {
                return;
            }
        }
    }

    /// One step along a dimension; returns by how much its optimality condition was broken before.
    fn step(&self, signs: &[f64], weight: &mut f64, penalty: f64, slack: &mut [f64]) -> f64 {
        let (mut slope, mut curvature) = (0.0, 0.0);
        for ((sign, slack), cost) in signs.iter().zip(&*slack).zip(&self.costs) {
            if *slack > 0.0 {
                slope -= 2.0 * cost * sign * slack;
                curvature += 2.0 * cost;
            }
        }
        let curvature = f64::max(curvature, 1e-12);
        let broken = match *weight {
            w if w > 0.0 => (slope + penalty).abs(),
            w if w < 0.0 => (slope - penalty).abs(),
            _ => (slope.abs() - penalty).max(0.0),
        };
        let mut by = if slope + penalty < curvature * *weight {
            -(slope + penalty) / curvature
        } else if slope - penalty > curvature * *weight {
            -(slope - penalty) / curvature
        } else {
            -*weight
        };
        if broken == 0.0 || by == 0.0 {
            return broken;
        }
        // The Newton step may go too far where examples leave or enter the loss.
        const HALVINGS: usize = 40;
        let size = |w: f64| penalty * w.abs();
        let promised = slope * by + size(*weight + by) - size(*weight);
        for halving in 0..HALVINGS {
            let moved = signs.iter().zip(&*slack).zip(&self.costs);
            let change: f64 = moved
                .map(|((sign, slack), cost)| {
                    let after = (slack - by * sign).max(0.0);
                    let before = slack.max(0.0);
                    cost * (after * after - before * before)
                })
                .sum();
            let sufficient = 0.01 * promised * 0.5f64.powi(halving as i32);
            if change + size(*weight + by) - size(*weight) <= sufficient {
                *weight += by;
                let examples = slack.iter_mut().zip(signs);
                examples.for_each(|(slack, sign)| *slack -= by * sign);
                return broken;
            }
            by /= 2.0;
        }
        // Nothing that arithmetic can tell is left to gain.
        0.0
    }
}

//! Parameters in boxes that make a function least: a coarse grid, then golden sections from its best points.

/// Values of each parameter that are tried first.
const GRID: usize = 5;
/// How often all axes are gone through.
const SWEEPS: usize = 6;
/// Evaluations of a section; the bracket shrinks to a millionth.
const SECTIONS: usize = 30;
/// `(sqrt(5) - 1) / 2`.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// So many of the best points of the grid are gone on from: the best one may lie at the edge of another valley.
const STARTS: usize = 6;

/// The parameters, each within its bounds (equal ones are kept), where `f` is least; it is limited by evaluations, so the same
/// input gives the same result.
pub(super) fn least<const N: usize>(bounds: [(f64, f64); N], f: impl Fn([f64; N]) -> f64) -> [f64; N] {
    let value = |parameters| {
        let value = f(parameters);
        if value.is_nan() { f64::INFINITY } else { value }
    };
    let starts = on_grid(bounds).map(|point| (value(point), point));
    let mut starts: Vec<(f64, [f64; N])> = starts.collect();
    starts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let reached = starts.into_iter().take(STARTS).map(|start| descend(bounds, start, &value));
    let best = reached.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(bounds.map(|(low, high)| f64::midpoint(low, high)), |(_, point)| point)
}

/// Goes down along each axis in turn, and then in the direction in which they have led together (Powell, 1964): a valley may lie
/// oblique to the axes.
fn descend<const N: usize>(
    bounds: [(f64, f64); N],
    (mut reached, mut best): (f64, [f64; N]),
    value: &impl Fn([f64; N]) -> f64,
) -> (f64, [f64; N]) {
    for _ in 0..SWEEPS {
        let before = (reached, best);
        for axis in (0..N).filter(|axis| bounds[*axis].0 < bounds[*axis].1) {
            let at = |x: f64| {
                let mut moved = best;
                moved[axis] = x;
                moved
            };
            let (low, high) = bounds[axis];
            let step = (high - low) / super::number(GRID - 1);
            let found =
                section((best[axis] - step).max(low), (best[axis] + step).min(high), |x| value(at(x)));
            keep(at(found), (&mut reached, &mut best), value);
        }
        let direction: [f64; N] = std::array::from_fn(|axis| best[axis] - before.1[axis]);
        let room = |axis: usize| {
            let (low, high) = bounds[axis];
            let end = if direction[axis] > 0.0 { high } else { low };
            (end - best[axis]) / direction[axis]
        };
        let most = (0..N).filter(|axis| direction[*axis] != 0.0).map(room).fold(f64::INFINITY, f64::min);
        if most.is_finite() && most > 0.0 {
            let at = |t: f64| -> [f64; N] {
                std::array::from_fn(|axis| {
                    (best[axis] + t * direction[axis]).clamp(bounds[axis].0, bounds[axis].1)
                })
            };
            let found = section(0.0, most, |t| value(at(t)));
            keep(at(found), (&mut reached, &mut best), value);
        }
        if before.0 - reached <= 1e-10 * before.0.abs() {
            break;
        }
    }
    (reached, best)
}

fn keep<const N: usize>(
    point: [f64; N],
    (reached, best): (&mut f64, &mut [f64; N]),
    value: &impl Fn([f64; N]) -> f64,
) {
    let found = value(point);
    if found < *reached {
        (*reached, *best) = (found, point);
    }
}

fn on_grid<const N: usize>(bounds: [(f64, f64); N]) -> impl Iterator<Item = [f64; N]> {
    let places = bounds.map(|(low, high)| if low < high { GRID } else { 1 });
    (0..places.iter().product::<usize>()).map(move |mut rest| {
        std::array::from_fn(|axis| {
            let (low, high) = bounds[axis];
            let place = super::number(rest % places[axis]) / super::number(GRID - 1);
            rest /= places[axis];
            low + (high - low) * place
        })
    })
}

/// Where `f` is least between two numbers, if it has one valley there (Kiefer, 1953).
fn section(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut a, mut b) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
    let (mut at_a, mut at_b) = (f(a), f(b));
    for _ in 0..SECTIONS {
        if at_a < at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - GOLDEN * (high - low);
            at_a = f(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + GOLDEN * (high - low);
            at_b = f(b);
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_a_bowl_is_found_within_its_bounds() {
        let bowl = |[x, y]: [f64; 2]| (x - 0.3).powi(2) + 2.0 * (y - 0.9).powi(2) + x * y;
        let found = least([(0.0, 1.0), (0.0, 0.5)], bowl);
        assert!((found[0] - 0.05).abs() < 1e-5 && (found[1] - 0.5).abs() < 1e-5, "{found:?}");
        assert_eq!(least([(0.2, 0.2)], |[x]| x)[0].to_bits(), 0.2_f64.to_bits());
    }

    #[test]
    fn a_valley_oblique_to_the_axes_is_followed_to_its_end() {
        // Least where the product is 0.01 and x is 0.4: y is 0.025 there; on the grid a corner is better.
        let valley = |[x, y]: [f64; 2]| 1e4 * (x * y - 0.01).powi(2) + (x - 0.4).powi(2);
        let found = least([(0.0001, 0.9999), (0.0001, 0.9999)], valley);
        assert!(valley(found) < 1e-3, "{found:?} {}", valley(found));
    }
}

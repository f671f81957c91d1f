//! Parameters in boxes that make a function least: a coarse grid, then golden sections along each axis in turn.

/// Values of each parameter that are tried first.
const GRID: usize = 5;
/// How often all axes are gone through.
const SWEEPS: usize = 6;
/// Evaluations of a section; the bracket shrinks to a millionth.
const SECTIONS: usize = 30;
/// `(sqrt(5) - 1) / 2`.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// The parameters, each within its bounds (equal ones are kept), where `f` is least; it is limited by evaluations, so the same
/// input gives the same result.
pub(super) fn least<const N: usize>(bounds: [(f64, f64); N], f: impl Fn([f64; N]) -> f64) -> [f64; N] {
    let value = |parameters| {
        let value = f(parameters);
        if value.is_nan() { f64::INFINITY } else { value }
    };
    let mut best = on_grid(bounds, &value);
    let mut reached = value(best);
    for _ in 0..SWEEPS {
        let before = reached;
        for axis in (0..N).filter(|axis| bounds[*axis].0 < bounds[*axis].1) {
            let at = |x: f64| {
                let mut moved = best;
                moved[axis] = x;
                value(moved)
            };
            let (low, high) = bounds[axis];
            let step = (high - low) / super::number(GRID - 1);
            let x = section((best[axis] - step).max(low), (best[axis] + step).min(high), at);
            let found = at(x);
            if found < reached {
                (best[axis], reached) = (x, found);
            }
        }
        if before - reached <= 1e-10 * before.abs() {
            break;
        }
    }
    best
}

fn on_grid<const N: usize>(bounds: [(f64, f64); N], f: &impl Fn([f64; N]) -> f64) -> [f64; N] {
    let mut best = (f64::INFINITY, bounds.map(|(low, high)| f64::midpoint(low, high)));
    let places = bounds.map(|(low, high)| if low < high { GRID } else { 1 });
    for number in 0..places.iter().product::<usize>() {
        let mut rest = number;
        let mut parameters = [0.0; N];
        for axis in 0..N {
            let (low, high) = bounds[axis];
            let place = super::number(rest % places[axis]) / super::number(GRID - 1);
            parameters[axis] = low + (high - low) * place;
            rest /= places[axis];
        }
        let found = f(parameters);
        if found < best.0 {
            best = (found, parameters);
        }
    }
    best.1
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
}

//! Limits of a command value. A value outside is refused, never moved to the limit: whoever proposed it was wrong,
//! and a silently changed command hides that.

/// The limits of one column of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The column of the proposals; a number.
    pub column: usize,
    /// Least value.
    pub lower: Option<f64>,
    /// Greatest value.
    pub upper: Option<f64>,
    /// Greatest distance from the value last sent to the same key.
    pub max_step: Option<f64>,
}

impl Limits {
    /// Why a value may not be sent, if so.
    pub(crate) fn refuse_bounds(&self, name: &str, value: f64) -> Option<String> {
        if let Some(lower) = self.lower
            && value < lower
        {
            return Some(format!("{name} {value} is below the least {lower}"));
        }
        if let Some(upper) = self.upper
            && value > upper
        {
            return Some(format!("{name} {value} is above the greatest {upper}"));
        }
        // NaN is on no side of a bound.
        (!value.is_finite()).then(|| format!("{name} is {value}"))
    }

    /// Why a value may not follow the last one sent, of which it may be open whether it has arrived. A step that is too large
    /// by rounding alone passes: `last + step` is often not exactly `step` away from `last`.
    pub(crate) fn refuse_step(&self, name: &str, value: f64, last: f64, is_open: bool) -> Option<String> {
        let step = self.max_step?;
        let moved = (value - last).abs();
        let rounding = 2.0 * f64::EPSILON * value.abs().max(last.abs());
        // Written so that a NaN is refused.
        if moved <= step + rounding {
            return None;
        }
        let [value, moved, last] = [value, moved, last].map(readable);
        let last =
            if is_open { format!("{last}, which may have arrived") } else { format!("the last {last}") };
        Some(format!("{name} {value} is {moved} from {last}, more than the step {step}"))
    }

    /// The value nearest to `value` that is within the bounds and within a step of each of those that the machine may have;
    /// `None` if there is none. Whole if it must be.
    pub(crate) fn approach(&self, value: f64, at: impl Iterator<Item = f64>, is_whole: bool) -> Option<f64> {
        let step = self.max_step.unwrap_or(f64::INFINITY);
        let bounds = (self.lower.unwrap_or(f64::NEG_INFINITY), self.upper.unwrap_or(f64::INFINITY));
        let (lower, upper) =
            at.fold(bounds, |(lower, upper), at| (lower.max(at - step), upper.min(at + step)));
        let (lower, upper) = if is_whole { (lower.ceil(), upper.floor()) } else { (lower, upper) };
        (lower <= upper).then(|| value.clamp(lower, upper))
    }

    /// Why these limits make no sense, if so.
    pub(crate) fn refuse_self(&self, name: &str) -> Option<String> {
        let numbers = [self.lower, self.upper, self.max_step];
        if numbers.into_iter().flatten().any(f64::is_nan) {
            return Some(format!("a limit of {name} is NaN"));
        }
        if let (Some(lower), Some(upper)) = (self.lower, self.upper)
            && lower > upper
        {
            return Some(format!("the bounds {lower} and {upper} of {name} are not in order"));
        }
        self.max_step
            .filter(|step| *step <= 0.0)
            .map(|_| format!("the step of {name} is not greater than zero"))
    }
}

/// A number for a person: without the digits that arithmetic leaves behind.
fn readable(number: f64) -> f64 {
    let rounded = (number * 1e6).round() / 1e6;
    if rounded.is_finite() && rounded != 0.0 { rounded } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { column: 0, lower: Some(10.0), upper: Some(40.0), max_step: Some(2.0) }
    }

    #[test]
    fn a_refusal_names_value_and_limit() {
        assert_eq!(limits().refuse_bounds("speed", 9.5).unwrap(), "speed 9.5 is below the least 10");
        assert_eq!(limits().refuse_bounds("speed", 41.0).unwrap(), "speed 41 is above the greatest 40");
        assert_eq!(limits().refuse_bounds("speed", f64::NAN).unwrap(), "speed is NaN");
        assert_eq!(limits().refuse_bounds("speed", 40.0), None);
        let reason = limits().refuse_step("speed", 14.0, 10.0, false).unwrap();
        assert_eq!(reason, "speed 14 is 4 from the last 10, more than the step 2");
        let reason = limits().refuse_step("speed", 37.999_999_988_277, 20.000_000_045_876, true).unwrap();
        assert_eq!(reason, "speed 38 is 18 from 20, which may have arrived, more than the step 2");
    }

    #[test]
    fn a_full_step_passes_whatever_its_rounding() {
        let step = Limits { max_step: Some(0.1), ..limits() };
        let mut last = 12.3;
        for _ in 0..100 {
            let next = last + 0.1;
            assert_eq!(step.refuse_step("speed", next, last, false), None);
            last = next;
        }
        assert!(step.refuse_step("speed", last + 0.100_001, last, true).is_some());
    }
}

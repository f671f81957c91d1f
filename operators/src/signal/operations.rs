//! Figures of operation: overall equipment effectiveness, and the zones of vibration.
//!
//! - Formulas: ISO 22400-2:2014 (OEE and its parts); ISO 10816-1:1995, annex B, and ISO 10816-3:2009, annex A (zones).

use super::{finite, ratio};

/// Machines by class (ISO 10816-1) or group and support (ISO 10816-3), with the velocities in mm/s up to which zones A,
/// B and C reach.
pub const MACHINES: [(&str, [f64; 3]); 8] = [
    ("class I", [0.71, 1.8, 4.5]),
    ("class II", [1.12, 2.8, 7.1]),
    ("class III", [1.8, 4.5, 11.2]),
    ("class IV", [2.8, 7.1, 18.0]),
    ("group 1 rigid", [2.3, 4.5, 7.1]),
    ("group 1 flexible", [3.5, 7.1, 11.0]),
    ("group 2 rigid", [1.4, 2.8, 4.5]),
    ("group 2 flexible", [2.3, 4.5, 7.1]),
];

/// The zone `A` to `D` of a velocity in mm/s (root mean square) for a machine of [`MACHINES`]; a limit belongs to the
/// zone below it. `None` if the velocity is negative or no number.
pub fn iso_zone(velocity_rms_mm_s: f64, machine: usize) -> Option<&'static str> {
    let (_, limits) = MACHINES.get(machine)?;
    if velocity_rms_mm_s.is_nan() || velocity_rms_mm_s < 0.0 {
        return None;
    }
    let zone = limits.iter().filter(|limit| velocity_rms_mm_s > **limit).count();
    Some(["A", "B", "C", "D"][zone])
}

/// `availability * effectiveness * quality ratio`, each a share from 0 up; `None` if one is negative or no number.
pub fn oee(availability: f64, effectiveness: f64, quality_ratio: f64) -> Option<f64> {
    let parts = [availability, effectiveness, quality_ratio];
    if parts.iter().all(|part| *part >= 0.0) { finite(parts.iter().product()) } else { None }
}

/// Actual production time over planned busy time.
pub fn availability(production_time: f64, planned_time: f64) -> Option<f64> {
    share(production_time, planned_time)
}

/// Planned time per piece times the pieces made, over the actual production time.
pub fn effectiveness(time_per_piece: f64, produced: f64, production_time: f64) -> Option<f64> {
    if !(time_per_piece >= 0.0 && produced >= 0.0) {
        return None;
    }
    share(time_per_piece * produced, production_time)
}

/// Good pieces over the pieces made.
pub fn quality_ratio(good: f64, produced: f64) -> Option<f64> {
    share(good, produced)
}

/// A ratio of two amounts of which the second is not zero and none negative.
fn share(part: f64, whole: f64) -> Option<f64> {
    if part >= 0.0 && whole > 0.0 { ratio(part, whole) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_those_of_the_standard() {
        let zone = |v, name: &str| iso_zone(v, MACHINES.iter().position(|(known, _)| *known == name)?);
        let zones = [0.5, 0.71, 0.72, 1.8, 4.5, 4.6].map(|v| zone(v, "class I").unwrap());
        assert_eq!(zones, ["A", "A", "B", "B", "C", "D"]);
        assert_eq!(zone(2.5, "group 1 flexible"), Some("A"));
        assert_eq!(zone(2.5, "group 2 rigid"), Some("B"));
        assert_eq!((iso_zone(f64::NAN, 0), iso_zone(-1.0, 0), iso_zone(1.0, 99)), (None, None, None));
    }

    #[test]
    fn oee_is_the_product_of_its_parts() {
        let (a, e, q) =
            (availability(360.0, 400.0), effectiveness(0.5, 600.0, 360.0), quality_ratio(570.0, 600.0));
        assert_eq!((a, q), (Some(0.9), Some(0.95)));
        let found = oee(a.unwrap(), e.unwrap(), q.unwrap()).unwrap();
        // The good pieces at the planned time, over the planned busy time.
        assert!((found - 570.0 * 0.5 / 400.0).abs() < 1e-12);
        assert_eq!(
            (availability(1.0, 0.0), oee(-0.1, 1.0, 1.0), oee(1.0, f64::NAN, 1.0)),
            (None, None, None)
        );
        assert_eq!(effectiveness(-1.0, -1.0, 1.0), None);
    }
}

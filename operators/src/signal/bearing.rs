//! The frequencies of rolling-element bearings.

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// BPFO, the ball-pass frequency of the outer race.
    OuterRace,
    /// BPFI, that of the inner race.
    InnerRace,
    /// BSF, the spin frequency of the balls.
    Ball,
    /// FTF, the frequency of the cage (fundamental train).
    Cage,
}

/// The geometry of a bearing whose outer race stands still.
#[derive(Clone, Copy, Debug)]
pub struct Bearing {
    /// How many balls or rollers it has.
    pub balls: f64,
    /// Their diameter, in the unit of `pitch_diameter`.
    pub ball_diameter: f64,
    /// The diameter of the circle of their centers.
    pub pitch_diameter: f64,
    /// The contact angle, degrees.
    pub angle_deg: f64,
}

impl Bearing {
    /// The frequency of a fault at a speed of the shaft, in hertz; `r = ball_diameter / pitch_diameter * cos(angle)`,
    /// `s = rpm / 60`:
    ///
    /// - BPFO `s * balls / 2 * (1 - r)`, BPFI `s * balls / 2 * (1 + r)`
    /// - BSF `s * pitch_diameter / ball_diameter / 2 * (1 - r^2)`, FTF `s / 2 * (1 - r)`
    ///
    /// `None` if a size is not above zero, a ball does not fit into the pitch circle, or the speed is negative. Source:
    /// Randall, Antoni, "Rolling element bearing diagnostics - a tutorial" (2011), 2.
    pub fn frequency_hz(&self, rpm: f64, fault: Fault) -> Option<f64> {
        let Self { balls, ball_diameter, pitch_diameter, angle_deg } = *self;
        if !(balls > 0.0 && ball_diameter > 0.0 && ball_diameter < pitch_diameter && rpm >= 0.0) {
            return None;
        }
        let shaft = rpm / 60.0;
        let r = ball_diameter / pitch_diameter * angle_deg.to_radians().cos();
        super::finite(match fault {
            Fault::OuterRace => shaft * balls / 2.0 * (1.0 - r),
            Fault::InnerRace => shaft * balls / 2.0 * (1.0 + r),
            Fault::Ball => shaft * pitch_diameter / ball_diameter / 2.0 * (1.0 - r * r),
            Fault::Cage => shaft / 2.0 * (1.0 - r),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequencies_of_a_6205_are_those_of_its_data_sheet() {
        let bearing = Bearing { balls: 9.0, ball_diameter: 0.3126, pitch_diameter: 1.537, angle_deg: 0.0 };
        let cases = [
            (Fault::OuterRace, 3.5848),
            (Fault::InnerRace, 5.4152),
            (Fault::Ball, 2.357),
            (Fault::Cage, 0.3983),
        ];
        for (fault, orders) in cases {
            let found = bearing.frequency_hz(60.0, fault).unwrap();
            assert!((found - orders).abs() < 5e-4, "{fault:?}: {found}");
        }
    }

    #[test]
    fn balls_that_do_not_fit_have_no_frequency() {
        let bearing = Bearing { balls: 9.0, ball_diameter: 2.0, pitch_diameter: 1.0, angle_deg: 0.0 };
        assert_eq!(bearing.frequency_hz(60.0, Fault::Ball), None);
        assert_eq!(Bearing { ball_diameter: f64::NAN, ..bearing }.frequency_hz(60.0, Fault::Ball), None);
    }
}

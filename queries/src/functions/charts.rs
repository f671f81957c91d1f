//! Functions from row to row that chart subgroups and counts, with limits from the first of them.

use lineshaft_operators::online::{Charted, Online, SubgroupChart};

use super::online::{BASE, OnlineFunction};
use super::parameter::{Parameter, is_whole, whole};

const MEAN: Parameter = Parameter::number("mean", "the mean of the subgroup", |_| true);
const RANGE: Parameter = Parameter::number("range", "the range of the subgroup", |_| true);
const DEFECTIVE: Parameter = Parameter::number("defective", "how many pieces are defective", |_| true);
const INSPECTED: Parameter = Parameter::number("inspected", "how many pieces were looked at", |_| true);
const DEFECTS: Parameter = Parameter::number("defects", "how many defects there are", |_| true);
const UNITS: Parameter = Parameter::number("units", "how much was looked at", |_| true);
const SIZE: Parameter =
    Parameter::number("size", "the number of values of a subgroup, from 2 to 25", |size| {
        is_whole(size) && (2.0..=25.0).contains(&size)
    });
const GROUPS: Parameter =
    Parameter::number("groups", "the number of first subgroups that give the limits, from 2 up", |n| {
        is_whole(n) && n >= 2.0
    })
    .or(25.0);

const SOURCE: &str = "Montgomery, Introduction to statistical quality control (7th ed.), 6.2, 7.2, 7.3";

fn chart(charted: Charted, groups: f64) -> Option<Online> {
    SubgroupChart::new(charted, whole(groups)).map(Online::from)
}

pub(super) const CHARTS: &[OnlineFunction] = &[
    OnlineFunction {
        name: "xbar_chart",
        inputs: &[MEAN, RANGE],
        parameters: &[SIZE, GROUPS],
        make: |p, _| chart(Charted::Mean { size: whole(p[0]) }, p[1]),
        summary: "The Xbar chart of subgroups, rows of a window with `avg(x)` and `peak_to_peak(x)`: how far the mean is from the centre, in its \
            standard deviations by the mean range. The process is out of control beyond 3; `western_electric` and `nelson` take it with mean 0 \
            and sigma 1",
        formula: "(mean - Xbar) / (Rbar / d2 / sqrt(size)), Xbar and Rbar of the first `groups` rows; 3 of them are A2 Rbar",
        source: SOURCE,
        unit: "none",
        null_when: "it is one of the first `groups` rows, which give the limits, or range is below 0",
        ..BASE
    },
    OnlineFunction {
        name: "range_chart",
        inputs: &[RANGE],
        parameters: &[SIZE, GROUPS],
        make: |p, _| chart(Charted::Range { size: whole(p[0]) }, p[1]),
        summary: "The R chart of subgroups: how far the range is from the mean range, in its standard deviations; beyond 3 the spread is out of \
            control",
        formula: "(range - Rbar) / (Rbar d3 / d2); Rbar and 3 of them are D4 Rbar",
        source: SOURCE,
        unit: "none",
        null_when: "it is one of the first `groups` rows, which give the limits, or range is below 0",
        ..BASE
    },
    OnlineFunction {
        name: "p_chart",
        inputs: &[DEFECTIVE, INSPECTED],
        parameters: &[GROUPS],
        make: |p, _| chart(Charted::Share, p[0]),
        summary: "The p chart: how far the share of defective pieces is from that of the first rows, in its standard deviations for so many pieces",
        formula: "(defective / inspected - p) / sqrt(p (1 - p) / inspected), p = sum(defective) / sum(inspected) of the first `groups` rows",
        source: SOURCE,
        unit: "none",
        null_when: "it is one of the first `groups` rows, or defective is not between 0 and inspected, or none of those was defective",
        ..BASE
    },
    OnlineFunction {
        name: "u_chart",
        inputs: &[DEFECTS, UNITS],
        parameters: &[GROUPS],
        make: |p, _| chart(Charted::Rate, p[0]),
        summary: "The u chart: how far the number of defects per unit is from that of the first rows, in its standard deviations for so many units",
        formula: "(defects / units - u) / sqrt(u / units), u = sum(defects) / sum(units) of the first `groups` rows",
        source: SOURCE,
        unit: "none",
        null_when: "it is one of the first `groups` rows, defects is below 0, units is not above 0, or those had no defect",
        ..BASE
    },
];

use super::super::random::Random;
use super::*;

/// Three channels that follow one cause, and one of their own; in different units.
fn plant(rows: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut random = Random::new(seed);
    let mut normal = move || (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
    let mut columns = vec![Vec::new(); 4];
    for _ in 0..rows {
        let cause = normal();
        columns[0].push(100.0 + 10.0 * cause + normal());
        columns[1].push(1e-3 * (cause + 0.1 * normal()));
        columns[2].push(-5e4 * (cause + 0.1 * normal()));
        columns[3].push(normal());
    }
    columns
}

fn options(components: Components) -> PcaOptions {
    PcaOptions { components, confidence: 0.99, t2_limit: T2Limit::F, spe_limit: SpeLimit::JacksonMudholkar }
}

fn alarms(model: &PcaMonitor, columns: &[Vec<f64>]) -> f64 {
    let flags = model.predict(&Features::new(&slices(columns)));
    flags.iter().sum::<f64>() / f64::from(u32::try_from(flags.len()).unwrap())
}

#[test]
fn each_limit_lets_pass_what_it_promises() {
    let (train, test) = (plant(2_000, 1), plant(20_000, 2));
    for t2_limit in [T2Limit::F, T2Limit::ChiSquared, T2Limit::Quantile] {
        for spe_limit in [SpeLimit::JacksonMudholkar, SpeLimit::Quantile] {
            let options = PcaOptions { t2_limit, spe_limit, ..options(Components::Number(2)) };
            let rate = alarms(&fit(&options, &train).unwrap(), &test);
            assert!((0.014..0.026).contains(&rate), "{options:?}: {rate}");
        }
    }
}

#[test]
fn a_broken_relation_raises_spe_and_a_large_common_cause_raises_t2() {
    let model = fit(&options(Components::Number(2)), &plant(2_000, 1)).unwrap();
    // The third channel no longer follows the first two; then all three are six deviations up.
    let rows = [[110.0, 1e-3, 5e4, 0.0], [160.0, 6e-3, -3e5, 0.0]];
    let columns: Vec<Vec<f64>> = (0..4).map(|j| rows.iter().map(|row| row[j]).collect()).collect();
    let slices = slices(&columns);
    let features = Features::new(&slices);
    let (t2, spe) = (model.t2(&features), model.spe(&features));
    assert!(t2[0] < model.t2_limit && spe[0] > model.spe_limit, "{t2:?} {spe:?}");
    assert!(t2[1] > model.t2_limit && spe[1] < model.spe_limit, "{t2:?} {spe:?}");
    assert_eq!(model.predict(&features), [1.0, 1.0]);
    for (name, statistic) in [("t2", t2), ("spe", spe)] {
        for (parts, whole) in model.contributions(name, &features).unwrap().iter().zip(statistic) {
            assert!((parts.iter().sum::<f64>() - whole).abs() < 1e-9 * whole.max(1.0));
        }
    }
    let guilty = &model.contributions("spe", &features).unwrap()[0];
    assert!(guilty[2] > guilty[0] && guilty[2] > guilty[1] && guilty[2] > guilty[3], "{guilty:?}");
}

#[test]
fn a_share_of_the_variance_chooses_the_components() {
    let columns = plant(500, 3);
    let kept = |share| fit(&options(Components::Variance(share)), &columns).unwrap().components();
    assert_eq!((kept(0.5), kept(0.9), kept(0.999)), (1, 2, 4));
    let all = fit(&options(Components::Number(4)), &columns).unwrap();
    assert!(all.spe_limit.is_infinite(), "nothing is left out, so there is no SPE to exceed");
    assert!(alarms(&all, &columns) < 0.03);
}

#[test]
fn channels_that_depend_on_each_other_exactly_do_not_alarm() {
    let mut columns = plant(300, 5);
    columns.push(columns[0].iter().map(|x| 2.0 * x).collect());
    columns.push(vec![7.0; 300]);
    let model = fit(&options(Components::Number(4)), &columns).unwrap();
    assert!(alarms(&model, &columns) < 0.05);
    let error = fit(&options(Components::Number(5)), &columns).unwrap_err();
    assert!(error.contains("vary in 4 directions only"), "{error}");
    let mut broken: Vec<Vec<f64>> = columns.iter().map(|column| column[..1].to_vec()).collect();
    broken[4][0] += 1.0;
    assert!((alarms(&model, &broken) - 1.0).abs() < 1e-12);
}

#[test]
fn too_few_rows_are_refused() {
    let error = fit(&options(Components::Number(3)), &plant(4, 1)).unwrap_err();
    assert!(
        error.contains("4 training rows do not determine 3 components") || error.contains("directions"),
        "{error}"
    );
}

#[test]
fn scores_are_those_of_scikit_learn_but_for_their_signs() {
    let (columns, _) = super::super::testing::plant();
    let model = fit(&options(Components::Number(2)), &columns).unwrap();
    let slices = slices(&columns);
    let scores = model.transform(&Features::new(&slices)).unwrap();
    let expected = [
        [2.408373701656092, 0.40837370165609166],
        [0.8153742483272115, 0.8153742483272112],
        [0.7776252050016692, 1.2223747949983303],
    ];
    for (found, expected) in scores.iter().zip(expected) {
        assert!(found.iter().zip(expected).all(|(f, e)| (f.abs() - e).abs() < 1e-9 * e), "{found:?}");
    }
}

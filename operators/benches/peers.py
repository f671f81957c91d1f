"""What scikit-learn, onnxruntime, NumPy, tsfel and river make of the same as models.rs beside this file: python peers.py PART FOLDER.

Each part prints lines `name/peer figure`: rows or samples per second on one thread.
"""

import os
import sys
import time

import numpy as np

FEATURES, WINDOW = 12, 1024


def path(name):
    return os.path.join(FOLDER, name)


def say(name, count, seconds):
    print(f"{name} {count / seconds:.1f}", flush=True)


def clock(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def train():
    """100 trees of depth 10 on 50,000 rows: of classes and of numbers, as joblib and ONNX."""
    import joblib
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    random = np.random.default_rng(3)
    x = random.normal(size=(50_000, FEATURES)).astype(np.float32)
    z = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + 0.5 * x[:, 3] ** 2 - 0.3 * x[:, 4] + random.normal(0, 0.3, len(x))
    models = {
        "forest": RandomForestClassifier(100, max_depth=10, random_state=1, n_jobs=1).fit(x, (z > 0.6).astype(np.int64)),
        "numbers": RandomForestRegressor(100, max_depth=10, random_state=1, n_jobs=1, max_features=4).fit(x[:20_000], z[:20_000]),
    }
    for name, model in models.items():
        joblib.dump(model, path(name + ".joblib"))
        options = {"zipmap": False} if name == "forest" else {}
        onnx = convert_sklearn(model, initial_types=[("x", FloatTensorType([None, FEATURES]))], options=options)
        with open(path(name + ".onnx"), "wb") as file:
            file.write(onnx.SerializeToString())


def forest():
    import joblib
    import onnxruntime

    x = np.fromfile(path("rows.f32"), np.float32).reshape(-1, FEATURES)
    for file, name in ("forest", "forest of classes"), ("numbers", "forest of numbers"):
        model = joblib.load(path(file + ".joblib"))
        predict = model.predict_proba if file == "forest" else model.predict
        predict(x[:64])
        say(f"{name}/scikit-learn", len(x), clock(lambda: predict(x)))
        say(f"{name}, row by row/scikit-learn", 100, clock(lambda: [predict(x[i:i + 1]) for i in range(100)]))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path(file + ".onnx"), options, providers=["CPUExecutionProvider"])
        run = lambda rows: session.run(["probabilities"] if file == "forest" else None, {"x": rows})
        run(x[:64])
        say(f"{name}/onnxruntime", len(x), clock(lambda: [run(x[i:i + 8192]) for i in range(0, len(x), 8192)]))
        say(f"{name}, row by row/onnxruntime", 20_000, clock(lambda: [run(x[i:i + 1]) for i in range(20_000)]))


def of_windows(windows, chunk=256):
    """The 12 features and 4 bands, by chunks that stay in the cache."""
    out = np.empty((len(windows), 16))
    for i in range(0, len(windows), chunk):
        x, o = windows[i:i + chunk], out[i:i + chunk]
        mean = x.mean(1)
        d = x - mean[:, None]
        d2 = d * d
        variance = d2.mean(1)
        deviation, rms, size = np.sqrt(variance), np.sqrt((x * x).mean(1)), np.abs(x)
        peak, mean_size = size.max(1), size.mean(1)
        o[:, 0], o[:, 1], o[:, 2] = mean, rms, deviation
        o[:, 3] = (d2 * d).mean(1) / (variance * deviation)
        o[:, 4] = (d2 * d2).mean(1) / (variance * variance) - 3
        o[:, 5], o[:, 6], o[:, 7], o[:, 8] = peak / rms, rms / mean_size, peak / mean_size, peak / np.sqrt(size).mean(1) ** 2
        o[:, 9] = x.max(1) - x.min(1)
        above = d > 0
        o[:, 10] = (above[:, 1:] != above[:, :-1]).sum(1) / (WINDOW - 1)
        o[:, 11] = np.abs(np.diff(x)).sum(1)
        f = np.fft.rfft(d)
        p = (f.real ** 2 + f.imag ** 2) / WINDOW
        for band in range(4):
            o[:, 12 + band] = 2 * p[:, 1 + 128 * band:129 + 128 * band].sum(1)
    return out


def features():
    import tsfel

    windows = np.fromfile(path("samples.f64")).reshape(-1, WINDOW)
    of_windows(windows[:256])
    say("12 features and 4 bands/NumPy", windows.size, clock(lambda: of_windows(windows)))
    full = tsfel.get_features_by_domain()
    pick = {
        "statistical": ["Mean", "Root mean square", "Standard deviation", "Skewness", "Kurtosis", "Max", "Min"],
        "temporal": ["Zero crossing rate", "Peak to peak distance"],
        "spectral": ["Spectral centroid", "Maximum frequency", "Power bandwidth"],
    }
    chosen = {domain: {name: what for name, what in full[domain].items() if name in names} for domain, names in pick.items()}
    some = windows[:100].reshape(-1)
    work = lambda: tsfel.time_series_features_extractor(chosen, some, fs=1024, window_size=WINDOW, verbose=0, n_jobs=None)
    say("12 features and 4 bands/tsfel (12)", some.size, clock(work))


def online():
    from river import anomaly, drift, linear_model, optim, preprocessing, stats, tree

    table = np.fromfile(path("online.f64")).reshape(-1, FEATURES + 1).tolist()
    rows = [({f"x{i}": x for i, x in enumerate(row[1:])}, row[0], row[1]) for row in table]

    def learner(model, predict, learn):
        def work():
            for x, y, _ in rows:
                predict(model, x)
                learn(model, x, y)
        return work

    def detector(model, some):
        def work():
            for _, _, x in some:
                model.update(x)
                model.drift_detected
        return work

    def scaler():
        model = preprocessing.StandardScaler()
        for _, _, x in rows:
            model.learn_one({"x": x})
            model.transform_one({"x": x})

    def z_score():
        mean, variance = stats.Mean(), stats.Var()
        for _, _, x in rows:
            deviation = variance.get() ** 0.5
            score = (x - mean.get()) / deviation if deviation else None
            mean.update(x)
            variance.update(x)

    def quantile():
        model = stats.Quantile(0.9)
        for _, _, x in rows:
            model.update(x)
            model.get()

    score = lambda model, x: model.score_one(x)
    predict = lambda model, x: model.predict_one(x)
    learn = lambda model, x, y: model.learn_one(x, y)
    few = rows[:1000]
    parts = [
        ("half-space trees", learner(anomaly.HalfSpaceTrees(seed=1), score, lambda model, x, y: model.learn_one(x)), rows),
        ("Hoeffding tree", learner(tree.HoeffdingTreeClassifier(leaf_prediction="mc"), predict, learn), rows),
        ("linear regression, gradients", learner(linear_model.LinearRegression(optimizer=optim.SGD(0.01)), predict, learn), rows),
        ("KSWIN", detector(drift.KSWIN(alpha=0.005, seed=1), few), few),
        ("Page-Hinkley", detector(drift.PageHinkley(), rows), rows),
        ("z-score", z_score, rows),
        ("running scale", scaler, rows),
        ("ADWIN", detector(drift.ADWIN(), rows), rows),
        ("quantile", quantile, rows),
    ]
    for name, work, used in parts:
        say(f"{name}/river", len(used), clock(work))


# tsfel starts processes, which read this file again.
if __name__ == "__main__":
    PART, FOLDER = sys.argv[1:]
    {"train": train, "forest": forest, "features": features, "online": online}[PART]()

//! Bytes that nobody meant: random ones, and good ones with wounds, for decoders and for the parser of programs. Nothing
//! panics, nothing hangs, and each message is rows or in quarantine.
//!
//! ```text
//! FUZZ=1000000 FUZZ_SEED=7 cargo test --release --test main fuzz -- --nocapture     instead of 600 of each kind
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lineshaft::Engine;
use lineshaft::connectors::{self, Context, memory};
use lineshaft::engine::clock::Clock;
use lineshaft::engine::source::{Chunk, Decoder, Message, Payload, Request};

use crate::faults::setting;
use crate::support::seeded::Seeded;
use crate::support::{lineshaft, views};

/// Words and signs that mean something to one of the readers.
const TOKENS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-",
    "1e999",
    "0x",
    "\\u0000",
    "\\ud800",
    "\n",
    "\r\n",
    ";",
    "'",
    "''",
    "--",
    "/*",
    "*/",
    "(",
    ")",
    "SELECT",
    "FROM",
    "INTERVAL",
    "OVER",
    "=",
    " ",
    "\t",
    "9223372036854775808",
    "-9223372036854775809",
    "NaN",
    "Infinity",
    "1970-01-01T00:00:00Z",
    "\u{feff}",
    "é",
    "\u{0}",
    "e",
];

/// Changes a few places.
fn wounded(text: &[u8], random: &mut Seeded) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=random.index(4) {
        let at = random.index(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => {
                let end = (at + random.index(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + random.index(40)).min(bytes.len());
                let again = bytes[at..end].repeat(1 + random.index(3));
                bytes.splice(at..at, again);
            }
            4 => {
                let more: Vec<u8> =
                    (0..random.index(9)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
                bytes.splice(at..at, more);
            }
            _ => {
                let token = random.pick(&TOKENS).repeat(if random.chance(5) { 300 } else { 1 });
                bytes.splice(at..at, token.into_bytes());
            }
        }
    }
    bytes
}

fn noise(random: &mut Seeded) -> Vec<u8> {
    (0..random.index(300)).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
}

/// Runs `check` over wounded seeds and noise, and tells how many there were.
fn fuzz(what: &str, seeds: &[Vec<u8>], check: impl Fn(&[u8])) {
    let (clock, cases) = (Clock::system(), setting("FUZZ", 600));
    let mut slowest = 0;
    let mut random = Seeded::new(setting("FUZZ_SEED", 1) ^ Seeded::of(what).next());
    for case in 0..cases {
        let bytes = match random.below(12) {
            0 => noise(&mut random),
            _ => wounded(&random.pick(seeds), &mut random),
        };
        let begun = clock.steady();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&bytes)));
        let shown = String::from_utf8_lossy(&bytes);
        assert!(checked.is_ok(), "{what}, case {case}: {shown:?}");
        slowest = slowest.max(clock.steady() - begun);
    }
    let slowest = slowest / 1000;
    eprintln!("{{\"fuzz\": \"{what}\", \"cases\": {cases}, \"panics\": 0, \"slowest_ms\": {slowest}}}");
}

const SOURCE: &str = "CREATE SOURCE s (ts TIMESTAMP NOT NULL, machine TEXT, n BIGINT, i INT, x DOUBLE, ok BOOLEAN, d DECIMAL(9, 2),
        day DATE, w DOUBLE[], WATERMARK FOR ts) WITH (connector = 'mqtt', url = 'mqtt://nowhere', topic = 't', format = 'FORMAT');
    CREATE VIEW v AS SELECT * FROM s;";

/// The decoder of messages of a format, as a source has it.
fn decoder(format: &str) -> Arc<dyn Decoder> {
    let program = views::compile(&SOURCE.replace("FORMAT", format)).unwrap();
    let declaration = program.sources().next().unwrap().declaration.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let context = Context::new(runtime.handle().clone(), memory::Registry::default());
    connectors::source(&declaration, &context).unwrap().decoder()
}

/// Rows and rejected records of one message.
fn decoded(decoder: &dyn Decoder, payload: &[u8], format: &str) -> (usize, usize) {
    let request = Some(Box::new(Request { remote: "127.0.0.1".into(), format: format.into(), key: None }));
    let message = Message { topic: "t".into(), payload: payload.to_vec(), request, ..Message::default() };
    let batches = decoder.decode(Chunk::new(Payload::Messages(vec![message]))).unwrap();
    batches
        .map(|batch| batch.map(|batch| (batch.rows.num_rows(), batch.rejected.len())).unwrap())
        .fold((0, 0), |(rows, rejected), more| (rows + more.0, rejected + more.1))
}

fn is_decoded(format: &'static str, seeds: &[&str]) {
    let decoder = decoder(format);
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    for seed in &seeds {
        let (rows, rejected) = decoded(&*decoder, seed, format);
        assert!(
            rows > 0 && rejected == 0,
            "{format}: {}: {rows} rows, {rejected} rejected",
            String::from_utf8_lossy(seed)
        );
    }
    fuzz(format, &seeds, |bytes| {
        let (rows, rejected) = decoded(&*decoder, bytes, format);
        // An empty list has no rows, and is no mistake; other formats may have lines that say nothing.
        let is_list =
            serde_json::from_slice::<Vec<serde_json::Value>>(bytes).is_ok_and(|list| list.is_empty());
        let is_blank = bytes.iter().all(u8::is_ascii_whitespace);
        assert!(format != "json" || rows + rejected > 0 || is_list || is_blank, "nothing has become of it");
    });
}

#[test]
fn json_is_rows_or_in_quarantine() {
    is_decoded(
        "json",
        &[
            r#"{"ts":"2026-03-01T12:00:00.25Z","machine":"press","n":7,"i":-3,"x":4.5,"ok":true,"d":1.25,"day":"2026-03-01","w":[1,2.5,null]}"#,
            r#"[{"ts":"2026-03-01T12:00:00+01:00","machine":"\u00e9\n","n":-9223372036854775808},{"ts":"2026-03-01T12:00:01Z","x":1e-300}]"#,
        ],
    );
}

#[test]
fn influx_lines_are_rows_or_in_quarantine() {
    is_decoded(
        "influx",
        &[
            "press,machine=left x=4.5,n=7i,ok=true 1772366400000000000\npress,machine=right x=5 1772366401000000000",
            "a\\ b,machine=c\\,d x=-1e3,machine=\"a \\\"b\\\"\" 1772366400000000000",
        ],
    );
}

/// Files of a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|it| it == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn a_program_is_compiled_or_told_what_is_wrong_with_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds: Vec<Vec<u8>> = files(&folder.join("examples"), "sql")
        .into_iter()
        .map(|file| std::fs::read(file).unwrap())
        .chain([SOURCE.replace("FORMAT", "json").into_bytes()])
        .collect();
    assert!(seeds.len() > 3);
    fuzz("sql", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        // What is told has a place in the text.
        if let Err(error) = Engine::from_sql(&text) {
            assert!(!error.to_string().is_empty());
        }
    });
}

#[test]
fn a_program_that_is_nested_deeply_is_compiled_or_told_so() {
    let folder = tempfile::tempdir().unwrap();
    for depth in [40, 200] {
        let nested = [
            format!("SELECT {}1{} AS n FROM s", "(".repeat(depth), ")".repeat(depth)),
            format!("SELECT 1{} AS n FROM s", " + 1".repeat(depth)),
            format!("SELECT {}n AS n FROM s", "- ".repeat(depth)),
            format!("SELECT n FROM s WHERE n = 1{}", " OR n = 1".repeat(depth)),
            format!("{}SELECT n FROM s{}", "SELECT * FROM (".repeat(depth), ")".repeat(depth)),
            format!("SELECT CASE {} END AS n FROM s", "WHEN n = 1 THEN 2 ".repeat(depth)),
        ];
        for query in nested {
            let sql = format!("{}\nCREATE VIEW deep AS {query};", SOURCE.replace("FORMAT", "json"));
            std::fs::write(folder.path().join("p.sql"), sql).unwrap();
            // As a process: a stack that overflows ends it.
            let checked = lineshaft(folder.path(), &["check", "p.sql"]);
            let start: String = query.chars().take(40).collect();
            assert!(
                matches!(checked.code, Some(0 | 1)),
                "{depth} {start}: {:?} {}",
                checked.code,
                checked.err
            );
        }
    }
}

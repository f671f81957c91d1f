//! Events of an auction house, as the NEXMark benchmark has them: of fifty events one is a person, three are auctions
//! and forty-six are bids. Seeded; half of the bids go to a popular auction, three of four to and from popular people.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

/// Events of one round: its first one is a person, the next three are auctions.
const ROUND: i64 = 50;
const AUCTIONS_OF_ROUND: i64 = 3;

/// Auctions that are bid on at a time.
const OPEN_AUCTIONS: i64 = 100;
/// Persons who take part at a time.
const ACTIVE_PERSONS: i64 = 1_000;
/// One of so many auctions or persons is popular.
const POPULAR: i64 = 100;
/// The first number of a person and of an auction.
const FIRST_ID: i64 = 1_000;
/// Rows of the bounded table.
const SIDE_INPUT: i64 = 1_000;
/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000_000;

const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// Names and types of the columns, without connectors.
const SOURCES: [(&str, &str); 3] = [
    (
        "person",
        "id BIGINT, name TEXT, email TEXT, credit_card TEXT, city TEXT, state TEXT, ts TIMESTAMP NOT NULL, extra TEXT",
    ),
    (
        "auction",
        "id BIGINT, item TEXT, description TEXT, initial_bid BIGINT, reserve BIGINT, ts TIMESTAMP NOT NULL, \
         expires TIMESTAMP, seller BIGINT, category BIGINT, extra TEXT",
    ),
    (
        "bid",
        "auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, ts TIMESTAMP NOT NULL, extra TEXT",
    ),
];

/// The declarations of the sources and the table; `connector` gives the options of each by its name.
pub(crate) fn declarations(connector: impl Fn(&str) -> String) -> String {
    let mut sql = String::new();
    for (name, columns) in SOURCES {
        sql.push_str(&format!(
            "CREATE SOURCE {name} ({columns}, WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH ({});\n",
            connector(name)
        ));
    }
    sql.push_str(&format!(
        "CREATE TABLE side_input (key BIGINT PRIMARY KEY, value TEXT) WITH ({});\n",
        connector("side_input")
    ));
    sql
}

/// The rows of each source and of the table, by name, for `events` events at `rate` a second.
pub(crate) fn generate(seed: u64, events: i64, rate: i64) -> Vec<(&'static str, RecordBatch)> {
    let mut random = Random(seed);
    let (mut persons, mut auctions, mut bids) = (Persons::default(), Auctions::default(), Bids::default());
    for number in 0..events {
        let ts = START + number * 1_000_000 / rate;
        let (round, place) = (number / ROUND, number % ROUND);
        let ids =
            Ids { persons: round + 1, auctions: round * AUCTIONS_OF_ROUND + place.min(AUCTIONS_OF_ROUND) };
        match place {
            0 => persons.push(round, ts, &mut random),
            1..=AUCTIONS_OF_ROUND => auctions.push(ids, ts, rate, &mut random),
            _ => bids.push(ids, ts, &mut random),
        }
    }
    vec![
        ("person", persons.rows()),
        ("auction", auctions.rows()),
        ("bid", bids.rows()),
        ("side_input", side_input()),
    ]
}

/// A small random generator (splitmix64, Steele, Lea and Flood 2014), so that the events are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `limit - 1`.
    fn below(&mut self, limit: i64) -> i64 {
        i64::try_from(self.next() >> 1).unwrap_or_default() % limit.max(1)
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        let place = usize::try_from(self.below(i64::try_from(of.len()).unwrap_or(1))).unwrap_or_default();
        of[place]
    }

    /// From one to a hundred million, with as many digits as any other.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a price in cents")]
    fn price(&mut self) -> i64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (10_f64.powf(unit * 6.0) * 100.0).round() as i64
    }

    fn letters(&mut self, len: i64) -> String {
        (0..len).map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap_or_default())).collect()
    }
}

/// How many persons and auctions there are so far.
#[derive(Clone, Copy)]
struct Ids {
    persons: i64,
    auctions: i64,
}

impl Ids {
    /// One of the last persons, mostly a popular one.
    fn person(self, random: &mut Random) -> i64 {
        let number = match random.below(4) {
            0 => self.persons - 1 - random.below(ACTIVE_PERSONS.min(self.persons)),
            _ => (self.persons - 1) / POPULAR * POPULAR,
        };
        FIRST_ID + number
    }

    /// One of the last auctions, every second time a popular one.
    fn auction(self, random: &mut Random) -> i64 {
        let last = (self.auctions - 1).max(0);
        let number = match random.below(2) {
            0 => last - random.below(OPEN_AUCTIONS.min(last + 1)),
            _ => last / POPULAR * POPULAR,
        };
        FIRST_ID + number
    }
}

#[derive(Default)]
struct Persons {
    ids: Vec<i64>,
    names: Vec<String>,
    emails: Vec<String>,
    cards: Vec<String>,
    cities: Vec<&'static str>,
    states: Vec<&'static str>,
    times: Vec<i64>,
    extras: Vec<String>,
}

impl Persons {
    fn push(&mut self, number: i64, ts: i64, random: &mut Random) {
        let name = format!("{} {}", random.letters(5), random.letters(7));
        self.ids.push(FIRST_ID + number);
        self.emails.push(format!("{}@{}.com", name.replace(' ', "."), random.letters(6)));
        self.names.push(name);
        let mut card = String::new();
        for _ in 0..4 {
            write!(card, "{:04} ", random.below(10_000)).unwrap_or_default();
        }
        self.cards.push(card.trim_end().to_owned());
        self.cities.push(random.pick(&CITIES));
        self.states.push(random.pick(&STATES));
        self.times.push(ts);
        self.extras.push(random.letters(40));
    }

    fn rows(self) -> RecordBatch {
        rows([
            ("id", numbers(self.ids)),
            ("name", texts(self.names)),
            ("email", texts(self.emails)),
            ("credit_card", texts(self.cards)),
            ("city", texts(self.cities)),
            ("state", texts(self.states)),
            ("ts", times(self.times)),
            ("extra", texts(self.extras)),
        ])
    }
}

#[derive(Default)]
struct Auctions {
    ids: Vec<i64>,
    items: Vec<String>,
    descriptions: Vec<String>,
    initial_bids: Vec<i64>,
    reserves: Vec<i64>,
    times: Vec<i64>,
    expires: Vec<i64>,
    sellers: Vec<i64>,
    categories: Vec<i64>,
    extras: Vec<String>,
}

impl Auctions {
    fn push(&mut self, ids: Ids, ts: i64, rate: i64, random: &mut Random) {
        // As long as it takes for the auctions that are open at a time to begin, on average.
        let open = OPEN_AUCTIONS * ROUND / AUCTIONS_OF_ROUND * 1_000_000 / rate;
        let initial = random.price();
        self.ids.push(FIRST_ID + ids.auctions - 1);
        self.items.push(random.letters(12));
        self.descriptions.push(random.letters(50));
        self.initial_bids.push(initial);
        self.reserves.push(initial + random.price());
        self.times.push(ts);
        self.expires.push(ts + 1 + random.below(2 * open));
        self.sellers.push(ids.person(random));
        self.categories.push(10 + random.below(5));
        self.extras.push(random.letters(60));
    }

    fn rows(self) -> RecordBatch {
        rows([
            ("id", numbers(self.ids)),
            ("item", texts(self.items)),
            ("description", texts(self.descriptions)),
            ("initial_bid", numbers(self.initial_bids)),
            ("reserve", numbers(self.reserves)),
            ("ts", times(self.times)),
            ("expires", times(self.expires)),
            ("seller", numbers(self.sellers)),
            ("category", numbers(self.categories)),
            ("extra", texts(self.extras)),
        ])
    }
}

#[derive(Default)]
struct Bids {
    auctions: Vec<i64>,
    bidders: Vec<i64>,
    prices: Vec<i64>,
    channels: Vec<String>,
    urls: Vec<String>,
    times: Vec<i64>,
    extras: Vec<String>,
}

impl Bids {
    fn push(&mut self, ids: Ids, ts: i64, random: &mut Random) {
        let path = format!(
            "https://www.nexmark.com/{}/{}/{}/item.htm?query=1",
            random.letters(5),
            random.letters(5),
            random.letters(5)
        );
        let (channel, url) = match random.below(2) {
            0 => (random.pick(&CHANNELS).to_owned(), path),
            _ => {
                let number = random.below(10_000);
                (format!("channel-{number}"), format!("{path}&channel_id={number}"))
            }
        };
        self.auctions.push(ids.auction(random));
        self.bidders.push(ids.person(random));
        self.prices.push(random.price());
        self.channels.push(channel);
        self.urls.push(url);
        self.times.push(ts);
        self.extras.push(random.letters(20));
    }

    fn rows(self) -> RecordBatch {
        rows([
            ("auction", numbers(self.auctions)),
            ("bidder", numbers(self.bidders)),
            ("price", numbers(self.prices)),
            ("channel", texts(self.channels)),
            ("url", texts(self.urls)),
            ("ts", times(self.times)),
            ("extra", texts(self.extras)),
        ])
    }
}

fn side_input() -> RecordBatch {
    let values: Vec<String> = (0..SIDE_INPUT).map(|key| format!("value {key}")).collect();
    rows([("key", numbers((0..SIDE_INPUT).collect())), ("value", texts(values))])
}

fn numbers(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

fn times(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values))
}

fn texts<T: AsRef<str>>(values: Vec<T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// The keys and the event time are never NULL.
fn rows<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    let columns = columns.map(|(name, column)| (name, column, !matches!(name, "ts" | "key")));
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

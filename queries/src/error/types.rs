//! The types in a message by the names that query files have for them: DataFusion and Arrow say `Utf8` for `TEXT`.

/// A message with those names, where quotes hold what the program says, such as `'upper(Int64)'`.
pub fn in_sql(message: &str) -> String {
    let mut told = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find(|c: char| c.is_ascii_uppercase()) {
        let (before, from) = rest.split_at(at);
        told.push_str(before);
        let end = from.find(|c: char| !is_of_word(c)).unwrap_or(from.len());
        let (word, behind) = from.split_at(end);
        // A name with a relation before it, or the end of a longer word.
        let is_part = told.ends_with(|c: char| c == '.' || is_of_word(c));
        let (name, behind) = match word {
            _ if is_part => (word, behind),
            "Timestamp" => ("TIMESTAMP", without_arguments(behind)),
            "Dictionary" => match behind.strip_prefix("(Int32, Utf8)") {
                Some(behind) => ("TEXT", behind),
                None => (word, behind),
            },
            _ => (sql_name(word).unwrap_or(word), behind),
        };
        told.push_str(name);
        rest = behind;
    }
    told + rest
}

/// A message with those names, where quotes hold what the data says: that stays.
pub(crate) fn in_sql_but_quoted(message: &str) -> String {
    let parts = message.split('\'').enumerate();
    let parts = parts.map(|(place, part)| if place % 2 == 0 { in_sql(part) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("'")
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What follows the unit and the zone in parentheses.
fn without_arguments(text: &str) -> &str {
    let inner = text.strip_prefix('(').and_then(|text| text.split_once(')'));
    inner.map_or(text, |(_, behind)| behind)
}

fn sql_name(arrow: &str) -> Option<&'static str> {
    Some(match arrow {
        "Utf8" | "LargeUtf8" | "Utf8View" => "TEXT",
        "Float64" => "DOUBLE",
        "Float32" => "REAL",
        "Int64" => "BIGINT",
        "Int32" => "INT",
        "Int16" => "SMALLINT",
        "Boolean" => "BOOLEAN",
        "Date32" => "DATE",
        "Decimal128" | "Decimal256" => "DECIMAL",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{in_sql, in_sql_but_quoted};

    #[test]
    fn types_have_the_names_of_query_files_and_other_words_stay() {
        for (told, expected) in [
            ("there is no sum(Utf8)", "there is no sum(TEXT)"),
            ("'upper(Float64, Int64)'", "'upper(DOUBLE, BIGINT)'"),
            ("Timestamp(µs), Timestamp(ns, \"+00:00\") and Timestamp", "TIMESTAMP, TIMESTAMP and TIMESTAMP"),
            ("Dictionary(Int32, Utf8) is not Decimal128(10, 2)", "TEXT is not DECIMAL(10, 2)"),
            ("readings.Boolean, isBoolean, Boolean_2", "readings.Boolean, isBoolean, Boolean_2"),
            ("Überdruck: column \"MaxInt64\"", "Überdruck: column \"MaxInt64\""),
            ("", ""),
        ] {
            assert_eq!(in_sql(told), expected);
        }
    }

    #[test]
    fn a_word_of_the_data_stays() {
        let told = "Cannot cast string 'Boolean Utf8' to value of Int64 type";
        assert_eq!(in_sql_but_quoted(told), "Cannot cast string 'Boolean Utf8' to value of BIGINT type");
    }
}

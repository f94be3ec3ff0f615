//! Settings as they were written down, with the place they came from: `config.toml` first, the environment over it,
//! the defaults of [`super::keys`] under it.
//!
//! Not for: what a value means. Here it has the right kind, no more.

use std::{collections::BTreeMap, fmt, path::Path, path::PathBuf};

use toml::de::{DeTable, DeValue};

use super::{
    ConfigError,
    keys::{self, KEYS, Key, Kind, OTHER_VARIABLES, VARIABLE_PREFIX},
};

/// A value of the right kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Integer`], within its bounds.
    Integer(i64),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::List`].
    List(Vec<String>),
}

/// Where a value was written, so that an error can send the reader there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, counted from 1.
    Line(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nobody wrote it; it is our default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(path, line) => write!(f, "{}, line {line}", path.display()),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => f.write_str(name),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// All settings that have a value.
#[derive(Debug, Default)]
pub struct RawSettings {
    values: BTreeMap<String, (Value, Origin)>,
}

impl RawSettings {
    /// The defaults alone.
    pub fn defaults() -> Result<RawSettings, ConfigError> {
        let mut settings = RawSettings::default();
        for key in KEYS {
            if let Some(default) = key.default {
                let parsed = DeValue::parse(default)
                    .map_err(|error| problem(&Origin::Default, key, error.message()))?;
                settings.set(key, parsed.get_ref(), Origin::Default)?;
            }
        }
        Ok(settings)
    }

    /// Puts the settings of a configuration file over those here. `path` is for messages only.
    pub fn read_toml(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let line_of =
            |offset: usize| text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
        let document = DeTable::parse(text).map_err(|error| ConfigError::Toml {
            origin: Origin::Line(path.to_owned(), line_of(error.span().map_or(0, |span| span.start))),
            problem: error.message().to_owned(),
        })?;
        for (section, table) in document.get_ref() {
            let origin = Origin::Line(path.to_owned(), line_of(section.span().start));
            if !KEYS.iter().any(|key| key.section == section.get_ref().as_ref()) {
                let sections = KEYS.iter().map(|key| key.section);
                return Err(unknown(origin, "section", section.get_ref(), sections));
            }
            let Some(table) = table.get_ref().as_table() else {
                let problem = format!("[{}] is a section, not a value", section.get_ref());
                return Err(ConfigError::Toml { origin, problem });
            };
            for (name, value) in table {
                let origin = Origin::Line(path.to_owned(), line_of(name.span().start));
                let Some(key) = keys::find(section.get_ref(), name.get_ref()) else {
                    let written = format!("{}.{}", section.get_ref(), name.get_ref());
                    let paths: Vec<String> = KEYS.iter().map(Key::path).collect();
                    return Err(unknown(origin, "key", &written, paths.iter().map(String::as_str)));
                };
                self.set(key, value.get_ref(), origin)?;
            }
        }
        Ok(())
    }

    /// Puts the `ROOKERY_…` variables of `environment` over the settings here.
    pub fn read_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
        for (name, text) in environment {
            if !name.starts_with(VARIABLE_PREFIX) || OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let origin = Origin::Variable(name.clone());
            let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
                return Err(unknown(origin, "variable", &name, variables.iter().map(String::as_str)));
            };
            let value = parse_variable(key, &text).map_err(|why| problem(&origin, key, &why))?;
            self.values.insert(key.path(), (value, origin));
        }
        Ok(())
    }

    /// Puts a setting given on the command line over the one here. The text is that of an environment variable.
    pub fn read_flag(&mut self, flag: &'static str, path: &str, text: &str) -> Result<(), ConfigError> {
        let origin = Origin::Flag(flag);
        let Some(key) = KEYS.iter().find(|key| key.path() == path) else {
            let paths: Vec<String> = KEYS.iter().map(Key::path).collect();
            return Err(unknown(origin, "key", path, paths.iter().map(String::as_str)));
        };
        let value = parse_variable(key, text).map_err(|why| problem(&origin, key, &why))?;
        self.values.insert(key.path(), (value, origin));
        Ok(())
    }

    fn set(&mut self, key: &'static Key, value: &DeValue<'_>, origin: Origin) -> Result<(), ConfigError> {
        let value = parse_toml(key, value).map_err(|why| problem(&origin, key, &why))?;
        self.values.insert(key.path(), (value, origin));
        Ok(())
    }

    /// The value of a setting and where it was written.
    pub fn get(&self, path: &str) -> Option<(&Value, &Origin)> {
        self.values.get(path).map(|(value, origin)| (value, origin))
    }

    /// The text of a setting of [`Kind::Text`].
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.get(path) {
            Some((Value::Text(text), _)) => Some(text),
            _ => None,
        }
    }

    /// The number of a setting of [`Kind::Integer`]; 0 when it has neither value nor default.
    pub fn integer(&self, path: &str) -> u64 {
        match self.get(path) {
            Some((Value::Integer(number), _)) => u64::try_from(*number).unwrap_or(0),
            _ => 0,
        }
    }

    /// A setting of [`Kind::Flag`]; false when it has neither value nor default.
    pub fn flag(&self, path: &str) -> bool {
        matches!(self.get(path), Some((Value::Flag(true), _)))
    }

    /// A setting of [`Kind::List`].
    pub fn list(&self, path: &str) -> Option<&[String]> {
        match self.get(path) {
            Some((Value::List(items), _)) => Some(items),
            _ => None,
        }
    }

    /// An error about the value of `path`, naming where it was written.
    pub fn refuse(&self, path: &str, why: impl Into<String>) -> ConfigError {
        let origin = self.get(path).map_or(Origin::Default, |(_, origin)| origin.clone());
        ConfigError::Value { origin, key: path.to_owned(), problem: why.into() }
    }
}

fn parse_toml(key: &Key, value: &DeValue<'_>) -> Result<Value, String> {
    let wrong_kind =
        || format!("expects {}, got {} {}", describe(key.kind), article(value.type_str()), value.type_str());
    match key.kind {
        Kind::Text => Ok(Value::Text(value.as_str().ok_or_else(wrong_kind)?.to_owned())),
        Kind::Flag => value.as_bool().map(Value::Flag).ok_or_else(wrong_kind),
        Kind::Integer { .. } => {
            let number = value.as_integer().ok_or_else(wrong_kind)?;
            let number =
                i64::from_str_radix(number.as_str(), number.radix()).map_err(|error| error.to_string())?;
            within_bounds(key, number)
        }
        Kind::List => value
            .as_array()
            .ok_or_else(wrong_kind)?
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned).ok_or_else(wrong_kind))
            .collect::<Result<_, _>>()
            .map(Value::List),
    }
}

fn parse_variable(key: &Key, text: &str) -> Result<Value, String> {
    match key.kind {
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Flag => {
            text.parse().map(Value::Flag).map_err(|_| format!("expects {}, got {text:?}", describe(key.kind)))
        }
        Kind::Integer { .. } => {
            let number =
                text.trim().parse().map_err(|_| format!("expects {}, got {text:?}", describe(key.kind)))?;
            within_bounds(key, number)
        }
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::List(items.map(str::to_owned).collect()))
        }
    }
}

fn within_bounds(key: &Key, number: i64) -> Result<Value, String> {
    match key.kind {
        Kind::Integer { min, max } if !(min..=max).contains(&number) => {
            Err(format!("is {number}; give a number from {min} to {max}"))
        }
        _ => Ok(Value::Integer(number)),
    }
}

fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a string in quotes",
        Kind::Integer { .. } => "a whole number",
        Kind::Flag => "true or false",
        Kind::List => "a list of strings",
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn problem(origin: &Origin, key: &Key, why: &str) -> ConfigError {
    ConfigError::Value { origin: origin.clone(), key: key.path(), problem: why.to_owned() }
}

fn unknown<'a>(
    origin: Origin,
    what: &'static str,
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> ConfigError {
    let nearest = keys::nearest(written, known).map(str::to_owned);
    ConfigError::Unknown { origin, what, written: written.to_owned(), nearest }
}

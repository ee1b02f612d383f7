//! The interpreter of the crate `cel` as the judge: whatever is accepted has the same value there.

use std::sync::Arc;

use cel::{Context, Env, Value};
use imflow_proto::record::{Row, Schema};

use super::*;
use crate::testing::Dice;

const FIELDS: [(&str, FieldType); 7] = [
    ("b", FieldType::Bool),
    ("i", FieldType::Int),
    ("j", FieldType::Int),
    ("d", FieldType::Double),
    ("s", FieldType::String),
    ("t", FieldType::String),
    ("l", FieldType::Strings),
];

const INTS: [i64; 8] = [0, 1, -1, 2, 7, 100, i64::MAX, i64::MIN];
const DOUBLES: [f64; 6] = [0.0, 1.0, -1.5, 0.25, 1e18, 3e300];
const TEXTS: [&str; 7] = ["", "a", "ab", "你好", "Ab cB", "12", " 7"];

/// An expression of a type, at most so deep.
fn expression(dice: &mut Dice, kind: FieldType, depth: usize) -> String {
    if depth == 0 {
        return leaf(dice, kind);
    }
    let mut of = |kind| expression(dice, kind, depth - 1);
    use FieldType::{Bool, Double, Int, String, Strings};
    match kind {
        Bool => {
            let (a, b) = (of(Bool), of(Bool));
            let (i, j) = (of(Int), of(Int));
            let (d, e) = (of(Double), of(Double));
            let (s, t, l) = (of(String), of(String), of(Strings));
            let compare = ["==", "!=", "<", "<=", ">", ">="][dice.below(6)];
            match dice.below(12) {
                0 => format!("({a} && {b})"),
                1 => format!("({a} || {b})"),
                2 => format!("!{a}"),
                3 => format!("({i} {compare} {j})"),
                4 => format!("({d} {compare} {e})"),
                5 => format!("({s} {compare} {t})"),
                6 => format!("{s}.contains({t})"),
                7 => format!("{s}.startsWith({t})"),
                8 => format!("({s} in {l})"),
                9 => format!("{l}.exists(x, x == {s} || {b})"),
                10 => format!("{l}.all(x, x.endsWith({s}) && {b})"),
                _ => format!("{s}.matches('^[a-c]+')"),
            }
        }
        Int => {
            let (a, b, c, d, s) = (of(Int), of(Int), of(Bool), of(Double), of(String));
            let l = of(Strings);
            match dice.below(8) {
                0 => format!("({a} {} {b})", ["+", "-", "*", "/", "%"][dice.below(5)]),
                1 => format!("-({a})"),
                2 => format!("({c} ? {a} : {b})"),
                3 => format!("size({s})"),
                4 => format!("size({l})"),
                5 => format!("int({d})"),
                6 => format!("int({s})"),
                _ => format!("{s}.indexOf('b')"),
            }
        }
        Double => {
            let (a, b, c, i) = (of(Double), of(Double), of(Bool), of(Int));
            match dice.below(4) {
                0 => format!("({a} {} {b})", ["+", "-", "*", "/"][dice.below(4)]),
                1 => format!("-({a})"),
                2 => format!("({c} ? {a} : {b})"),
                _ => format!("double({i})"),
            }
        }
        String => {
            let (a, b, c, i, l) = (of(String), of(String), of(Bool), of(Int), of(Strings));
            match dice.below(9) {
                0 => format!("({a} + {b})"),
                1 => format!("({c} ? {a} : {b})"),
                2 => format!("string({i})"),
                3 => format!("{a}.lowerAscii()"),
                4 => format!("{a}.upperAscii()"),
                5 => format!("{a}.trim()"),
                6 => format!("{a}.replace('a', {b})"),
                7 => format!("{a}.substring(1)"),
                _ => format!("{l}.join('-')"),
            }
        }
        Strings => format!("{}.split(' ')", of(String)),
    }
}

fn leaf(dice: &mut Dice, kind: FieldType) -> String {
    let field = |names: &[&str], dice: &mut Dice| names[dice.below(names.len())].to_owned();
    match kind {
        FieldType::Bool => field(&["b", "true", "false"], dice),
        FieldType::Int => field(&["i", "j", "0", "1", "3", "-2"], dice),
        FieldType::Double => field(&["d", "0.5", "2.0"], dice),
        FieldType::String => field(&["s", "t", "'a'", "'你'", "''"], dice),
        FieldType::Strings => field(&["l", "['a', 'b']", "[]"], dice),
    }
}

fn values(dice: &mut Dice) -> Vec<Scalar> {
    let text = |dice: &mut Dice| -> Arc<str> { TEXTS[dice.below(TEXTS.len())].into() };
    vec![
        Scalar::Bool(dice.below(2) == 1),
        Scalar::Int(INTS[dice.below(INTS.len())]),
        Scalar::Int(INTS[dice.below(INTS.len())]),
        Scalar::Double(DOUBLES[dice.below(DOUBLES.len())]),
        Scalar::String(text(dice)),
        Scalar::String(text(dice)),
        Scalar::Strings((0..dice.below(3)).map(|_| text(dice)).collect()),
    ]
}

fn to_cel(value: &Scalar) -> Value {
    let text = |text: &Arc<str>| Value::String(Arc::new(text.to_string()));
    match value {
        Scalar::Bool(value) => Value::Bool(*value),
        Scalar::Int(value) => Value::Int(*value),
        Scalar::Double(value) => Value::Float(*value),
        Scalar::String(value) => text(value),
        Scalar::Strings(list) => Value::List(Arc::new(list.iter().map(text).collect())),
    }
}

/// The same value; not-a-number is the same as itself here.
fn same(ours: &Scalar, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Scalar::Double(ours), Value::Float(theirs)) => {
            ours == theirs || (ours.is_nan() && theirs.is_nan())
        }
        (ours, theirs) => to_cel(ours) == *theirs,
    }
}

#[test]
fn values_and_faults_are_those_of_the_interpreter() {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::strings).expect("it fits");
    let env = Arc::new(env);
    let schema = Arc::new(Schema { fields: FIELDS.map(|(name, kind)| (name.into(), kind)).into() });
    let shape = Shape::Row(Arc::clone(&schema));
    let (mut agreed, mut faults) = (0, 0);
    for seed in 0..6_000 {
        let mut dice = Dice(seed);
        let kind = FIELDS[dice.below(FIELDS.len())].1;
        let depth = 1 + dice.below(2);
        let source = expression(&mut dice, kind, depth);
        let slots = values(&mut dice);
        let ours = match Expression::compile(&shape, &source) {
            Ok(ours) => ours,
            // The one thing that the grammar above writes and the compiler refuses.
            Err(error) if error.message == "a loop cannot stand inside another" => continue,
            Err(error) => panic!("seed {seed}, {source}: {error:?}"),
        };
        assert_eq!(ours.field_type(), kind, "{source}");
        let mut context = Context::with_env(Arc::clone(&env));
        for ((name, _), slot) in FIELDS.iter().zip(&slots) {
            context.add_variable_from_value(*name, to_cel(slot));
        }
        let row =
            Row { schema: Arc::clone(&schema), slots: slots.clone().into(), retracted: false };
        let found = ours.value(&Record::Row(Arc::new(row)));
        let judged = env.compile(&source).expect("it was read before").execute(&context);
        match (&found, &judged) {
            (Ok(ours), Ok(theirs)) if same(ours, theirs) => agreed += 1,
            (Err(_), Err(_)) => faults += 1,
            _ => panic!("seed {seed}: {source} over {slots:?} is {found:?}, not {judged:?}"),
        }
    }
    assert!(agreed > 3_000 && faults > 100, "{agreed} values, {faults} faults");
}

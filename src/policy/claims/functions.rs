//! The functions that expressions may call: those of the library, with two corrected to what the specification says.

use std::sync::{Arc, LazyLock};

use jmespath::functions::{AvgFn, Function as _};
use jmespath::{Context, Rcvar, Runtime, Variable};
use serde_json::Number;

/// Every function of JMESPath.
pub(super) static FUNCTIONS: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Runtime::new();
    runtime.register_builtin_functions();
    let average = AvgFn::new();
    runtime.register_function(
        "avg",
        Box::new(move |arguments: &[Rcvar], context: &mut Context<'_>| match arguments {
            // The library divides by zero.
            [list] if list.as_array().is_some_and(Vec::is_empty) => Ok(Arc::new(Variable::Null)),
            _ => average.evaluate(arguments, context),
        }),
    );
    runtime.register_function(
        "to_number",
        Box::new(|arguments: &[Rcvar], _: &mut Context<'_>| Ok(number(arguments.first()))),
    );
    runtime
});

/// A number, or the text of one; anything else is null. The library takes any JSON in a text.
fn number(value: Option<&Rcvar>) -> Rcvar {
    let read = |text: &str| text.parse::<Number>().ok().map(|number| Arc::new(Variable::Number(number)));
    let number = match value.map(|value| (value, &**value)) {
        Some((value, Variable::Number(_))) => Some(Arc::clone(value)),
        Some((_, Variable::String(text))) => read(text),
        _ => None,
    };
    number.unwrap_or_else(|| Arc::new(Variable::Null))
}

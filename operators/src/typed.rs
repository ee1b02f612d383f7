//! Kinds whose options are compiled against the shapes of their inputs.
//!
//! One type holds what a kind makes of its options. The compiler makes it to check the file and to learn
//! the shapes of the outputs; the runtime makes it again to build the operator. So what is checked is
//! what runs.

use imflow_kind::{
    Description, Inference, Kind, Mistake, Operator, OperatorContext, Shape, StartError,
};

use crate::expression;

/// The compiled options of a kind.
pub(crate) trait Typed: Sized {
    /// Compiles the options of a node.
    ///
    /// # Errors
    /// Every mistake that can be told.
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>>;

    /// What each output carries, in order.
    fn outputs(&self, node: &Inference<'_>) -> Vec<Shape>;

    /// The operator for this part of the node.
    fn operator(self, context: &OperatorContext<'_>) -> Box<dyn Operator>;
}

/// The kind of this description.
pub(crate) fn kind<T: Typed>(description: &'static Description) -> Kind {
    Kind::operator(description, build::<T>).inferring(infer::<T>).reading(expression::read)
}

fn infer<T: Typed>(node: &Inference<'_>) -> Result<Vec<Shape>, Vec<Mistake>> {
    T::compile(node).map(|compiled| compiled.outputs(node))
}

fn build<T: Typed>(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let (inputs, options) = (context.inputs, context.options);
    let node = Inference { inputs, options, outputs: context.outputs.len() };
    let told = |mistakes: Vec<Mistake>| {
        let all = mistakes.iter().map(|m| format!("`{}`: {}", m.option, m.message));
        StartError::new(all.collect::<Vec<_>>().join("; "))
    };
    Ok(T::compile(&node).map_err(told)?.operator(context))
}

/// What an input port carries.
///
/// # Errors
/// When it is not wired. The compiler asks only nodes whose required inputs are.
pub(crate) fn input<'a>(node: &Inference<'a>, port: usize) -> Result<&'a Shape, Vec<Mistake>> {
    let shape = node.inputs.get(port).and_then(|shapes| shapes.first());
    shape.ok_or_else(|| vec![mistake("inputs", "an input is not wired")])
}

/// A mistake in an option as a whole.
pub(crate) fn mistake(option: &'static str, message: impl Into<String>) -> Mistake {
    Mistake { option, message: message.into(), ..Mistake::default() }
}

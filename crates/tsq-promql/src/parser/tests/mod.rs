mod bounds;
mod errors;
mod shapes;
mod trees;

// Package zones is zones as answers are read from, and how they are made: of static sets and of the services that stand in them, whole
// or from an old form. It knows no Compiler.
package zones

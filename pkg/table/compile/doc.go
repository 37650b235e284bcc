// Package compile compiles declared resources, static zones, geography and verdicts into the Views of pkg/table, and keeps
// compiling as they change.
package compile

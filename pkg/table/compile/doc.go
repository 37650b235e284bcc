// Package compile compiles declared resources, static zones, geography and verdicts into the View of pkg/table that answers are read
// from, and keeps compiling as they change.
//
// One Compiler (one goroutine) writes; any number of goroutines read the Views that it gave, which never change.
package compile

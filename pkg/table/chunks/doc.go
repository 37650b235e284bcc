// Package chunks has lists in pieces, of which readers keep the ones they have while a writer changes others.
package chunks

// Package rr renders resource records as answers carry them, and knows the families in which steered names answer.
package rr

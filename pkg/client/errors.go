package client

import (
	"fmt"
	"net/url"
)

// UnreachableError: there was no reply. Err is what net/http says.
type UnreachableError struct {
	Server *url.URL
	Err    error
}

func (e *UnreachableError) Error() string { return fmt.Sprintf("cannot reach %s: %v", e.Server, e.Err) }

// Unwrap gives what net/http says.
func (e *UnreachableError) Unwrap() error { return e.Err }

// ReplyError: what came is no reply of the API.
type ReplyError struct {
	Server *url.URL
	Status string // as in 404 Not Found
	Why    Why
	Most   int   // bytes that are read, where it is TooLong
	Err    error // of BrokeOff and Unreadable
}

// Why says what is wrong with a reply.
type Why int

const (
	BrokeOff   Why = iota + 1 // before its end
	TooLong                   // longer than a server sends
	Foreign                   // an error in another form than that of the API
	WantsTLS                  // plain HTTP was spoken to a server that speaks TLS
	Unreadable                // JSON of another shape
)

func (e *ReplyError) Error() string {
	switch e.Why {
	case BrokeOff:
		return fmt.Sprintf("the reply of %s broke off: %v", e.Server, e.Err)
	case TooLong:
		return fmt.Sprintf("the reply of %s (%s) has more than %d MiB, which gtmd does not send", e.Server, e.Status, e.Most>>20)
	case WantsTLS:
		return fmt.Sprintf("%s speaks TLS: ask https://%s", e.Server, e.Server.Host)
	case Unreadable:
		return fmt.Sprintf("%s answered what cannot be read (%v): this client may be older than gtmd", e.Server, e.Err)
	}
	return fmt.Sprintf("%s answered %s, not as gtmd does", e.Server, e.Status)
}

// Unwrap gives what broke it off, or what could not be read.
func (e *ReplyError) Unwrap() error { return e.Err }

package edge

import (
	"github.com/gti/gtm/pkg/answer"
	"github.com/gti/gtm/pkg/serve"
)

// newHandler makes the handler of one worker.
func (e *Edge) newHandler() serve.Handler {
	h := serve.Handler(&handler{Answerer: answer.New(answer.Config{View: &e.view, ID: e.cfg.ID, Elsewhere: e.elsewhere, Row: int(e.nextRow.Add(1)) % e.rows,
		Seed: randomSeed(), ExplainFrom: e.cfg.ExplainFrom, MaxUDP: e.cfg.MaxUDP, Clock: e.clock.seconds.Load,
		Cookies: &e.cookies.current, RequireCookies: e.cfg.RequireCookies})})
	if e.cfg.Wrap != nil {
		h = e.cfg.Wrap(h)
	}
	return h
}

// handler fits an Answerer to the sockets.
type handler struct {
	*answer.Answerer
	meta answer.Meta
}

func (h *handler) Handle(r *serve.Request) (n int, action serve.Action) {
	h.meta = answer.Meta{Source: r.Source, Stream: r.Transport != serve.UDP, Encrypted: encrypted(r.Transport),
		QUIC: r.Transport == serve.QUIC, Slow: r.Slow, KeepAlive: r.KeepAlive}
	o := h.Answer(r.Buf, r.N, &h.meta)
	r.Exempt = o.Exempt
	switch {
	case o.Deferred:
		return 0, serve.Defer
	case o.Size == answer.Fatal:
		return 0, serve.Close
	case o.Size == 0:
		return 0, serve.Drop
	case o.Truncated:
		return o.Size, serve.Truncate
	}
	return o.Size, serve.Send
}

func encrypted(t serve.Transport) bool { return t == serve.TLS || t == serve.HTTPS || t == serve.QUIC }

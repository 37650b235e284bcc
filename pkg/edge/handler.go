package edge

import (
	"github.com/gti/gtm/pkg/answer"
	"github.com/gti/gtm/pkg/edge/sampling"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/serve"
	"github.com/gti/gtm/pkg/transfer"
)

// An Answerer can prefetch as many queries as the sockets show it at once.
var _ [answer.Window - serve.Window]struct{}

var _ serve.Prefetcher = (*handler)(nil)

// newHandler makes the handler of one worker.
func (e *Edge) newHandler() serve.Handler {
	own := &handler{transfer: e.transfer,
		Answerer: answer.New(answer.Config{View: &e.view, ID: e.cfg.ID, Elsewhere: e.elsewhere, Row: int(e.nextRow.Add(1)) % e.rows,
			Seed: randomSeed(), ExplainFrom: e.cfg.ExplainFrom, MaxUDP: e.cfg.MaxUDP, Clock: e.clock.seconds.Load,
			Cookies: &e.cookies.current, RequireCookies: e.cfg.RequireCookies, Foreign: true, Evidence: e.date,
			Samples: e.sampling.Samples})}
	own.ask = own.again
	h := serve.Handler(own)
	if e.cfg.Wrap != nil {
		h = e.cfg.Wrap(h)
	}
	return h
}

// handler fits an Answerer to the sockets.
type handler struct {
	*answer.Answerer
	meta     answer.Meta
	transfer *transfer.Server
	ask      transfer.Ask
}

func (h *handler) Handle(r *serve.Request) (n int, action serve.Action) {
	m := &h.meta
	m.Source, m.Slow, m.Resume, m.KeepAlive, m.Prefetched = r.Source, r.Slow, r.Resume, r.KeepAlive, r.Prefetched
	m.Stream, m.Encrypted, m.QUIC = r.Transport != serve.UDP, encrypted(r.Transport), r.Transport == serve.QUIC
	o := h.Answer(r.Buf, r.N, &h.meta)
	r.Exempt = o.Exempt
	if o.Kind != answer.Send {
		return h.unsent(r, o)
	}
	if o.Truncated {
		return o.Size, serve.Truncate
	}
	return o.Size, serve.Send
}

// unsent does what an outcome without a reply asks for.
func (h *handler) unsent(r *serve.Request, o answer.Outcome) (n int, action serve.Action) {
	switch o.Kind {
	case answer.Foreign:
		return h.foreign(r)
	case answer.Close:
		return 0, serve.Close
	case answer.Defer, answer.DeferKnown:
		r.Preferred, r.Resume, r.Share = o.Kind == answer.DeferKnown, h.Resume(), h.Share()
		return 0, serve.Defer
	}
	return 0, serve.Drop
}

// foreign answers what is not an ordinary question.
func (h *handler) foreign(r *serve.Request) (n int, action serve.Action) {
	reply := h.transfer.Handle(&transfer.Message{Buf: r.Buf, N: r.N, Source: r.Source, Slow: r.Slow,
		Stream: r.Transport != serve.UDP, Many: r.Transport != serve.UDP && r.Transport != serve.HTTPS}, h.ask)
	r.Exempt = reply.Trusted
	switch {
	case reply.Produce != nil:
		r.Produce = reply.Produce
		return 0, serve.Stream
	case reply.Deferred:
		r.Resume = h.Resume()
		return 0, serve.Defer
	case reply.Size == 0:
		return 0, serve.Drop
	case reply.Truncated:
		return reply.Size, serve.Truncate
	}
	return reply.Size, serve.Send
}

// again answers the question of a signed message.
func (h *handler) again(buf []byte, n int) (size int, deferred bool) {
	h.meta.Prefetched = 0 // what was parsed is the message with its signature
	o := h.Answer(buf, n, &h.meta)
	return o.Size, o.Deferred()
}

func encrypted(t serve.Transport) bool { return t == serve.TLS || t == serve.HTTPS || t == serve.QUIC }

// newSampling makes what counts the samples that handlers take.
func (e *Edge) newSampling() (*sampling.Counter, error) {
	return sampling.New(sampling.Config{ID: e.cfg.ID, Start: e.started, Now: e.cfg.Now, Registerer: e.cfg.Registerer, Atlas: e.atlas})
}

// atlas gives the geography that is answered by; nil: there is no view yet.
func (e *Edge) atlas() *geo.Atlas {
	if v := e.view.Load(); v != nil {
		return v.Atlas
	}
	return nil
}

package transfer

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
)

// Config is what a Server needs.
type Config struct {
	// View gives the present view; nil: there is none yet.
	View func() *table.View
	Keys *Keyring
	// From are addresses that NOTIFY messages are sent from, where one of the peer's family is among them: secondaries
	// go by the address.
	From       []netip.Addr
	Logger     *slog.Logger          // nil: discards
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
	// Forward has control answer an UPDATE, or a NOTIFY for a zone that is copied from elsewhere. Nil: there is no control.
	Forward func(ctx context.Context, msg []byte, source netip.AddrPort) (reply []byte, err error)
	// Retry is how long the first wait for the answer to a NOTIFY is. It doubles. Default 2s.
	Retry time.Duration
}

// Server answers what is not an ordinary question. It is safe for concurrent use.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{}

	forwards chan struct{} // taken by each message that control has
	sparing  sparing

	mu       sync.Mutex
	journals map[string]*journal // by zone
	notices  map[notice]*pending
}

// Message is a message that came.
type Message struct {
	Buf    []byte // Buf[:N] is the message; the reply goes to Buf, and may be as long as Buf is
	N      int
	Source netip.AddrPort
	// Stream: a transport without the limits of UDP. Many: one that can carry several messages for one.
	Stream, Many bool
	Slow         bool // slowness is allowed now
}

// Reply tells what becomes of a message.
type Reply struct {
	Size      int // of the reply in Buf; 0: none
	Truncated bool
	Deferred  bool // ask again where slowness is allowed; Buf is as it was
	Trusted   bool // the message was signed by a key that we know
	// Produce makes several messages, in the place of Buf.
	Produce func(send func(msg []byte) error) error
}

// Ask answers the ordinary question buf[:n] there, where len(buf) is the limit.
type Ask func(buf []byte, n int) (size int, deferred bool)

// New makes a Server.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Retry <= 0 {
		cfg.Retry = 2 * time.Second
	}
	if cfg.Keys == nil {
		cfg.Keys = &Keyring{}
	}
	s := &Server{cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1),
		forwards: make(chan struct{}, maxForwards), journals: map[string]*journal{}, notices: map[notice]*pending{}}
	var err error
	s.metrics, err = newMetrics(cfg.Registerer)
	return s, err
}

// exchange is one message on its way through the Server.
type exchange struct {
	s     *Server
	m     *Message
	plain []byte   // the message without TSIG
	tsig  *tsig    // nil: it is not signed
	sess  *session // nil: it is not signed with a key that we know
	end   int      // of the question in plain
	name  []byte
	qtype uint16
	class uint16
	opt   bool
}

const (
	opcodeQuery  = 0
	opcodeNotify = 4
	rcodeNotAuth = 9

	flagAA = 0x04 // in the third byte of a message
	flagTC = 0x02
)

// Handle answers a message: one with a TSIG record, a question for a transfer, or one with an opcode other than QUERY. TSIG is
// checked here and nowhere else, before anything else is looked at (RFC 8945, 5.2).
func (s *Server) Handle(m *Message, ask Ask) Reply {
	x := &exchange{s: s, m: m, plain: m.Buf[:m.N]}
	t, err := findTSIG(x.plain)
	if err != nil || !x.question() {
		return x.fail(dnswire.RcodeFormErr)
	}
	opcode := x.plain[2] >> 3 & 0xF
	if x.tsig = t; t != nil && (opcode != opcodeUpdate || s.cfg.Keys.get(t.owner) != nil) { // control may know keys that edges do not
		if r, ok := x.authenticate(); !ok {
			return r
		}
	}
	var r Reply
	switch {
	case opcode == opcodeNotify:
		r = x.notified()
	case opcode == opcodeUpdate && t == nil:
		r = x.fail(dnswire.RcodeRefused)
	case opcode == opcodeUpdate:
		r = x.updated()
	case opcode != opcodeQuery:
		r = x.fail(dnswire.RcodeNotImp)
	case x.class == dnswire.ClassIN && (x.qtype == dnswire.TypeAXFR || x.qtype == dnswire.TypeIXFR):
		r = x.transfer()
	default:
		r = x.ask(ask)
	}
	r.Trusted = x.sess != nil
	return r
}

// question reads the question, or the zone section of an update, which stands in its place.
func (x *exchange) question() bool {
	msg := x.plain
	if binary.BigEndian.Uint16(msg[4:]) != 1 {
		return false
	}
	name, end := readName(msg, header)
	if end < 0 || len(msg)-end < 4 {
		return false
	}
	x.name, x.end = name, end+4
	x.qtype, x.class = binary.BigEndian.Uint16(msg[end:]), binary.BigEndian.Uint16(msg[end+2:])
	x.opt = optAt(msg, x.end) >= 0
	return true
}

// optAt gives the offset of the OPT record behind the question, -1: there is none.
func optAt(msg []byte, off int) int {
	for off < len(msg) {
		if msg[off] == 0 && len(msg)-off >= 11 && binary.BigEndian.Uint16(msg[off+1:]) == dnswire.TypeOPT {
			return off
		}
		if off = skipRecord(msg, off); off < 0 {
			break
		}
	}
	return -1
}

// authenticate checks the TSIG record. Where it is not good, ok is false, and the reply tells why (RFC 8945, 5.2 and 5.3.2).
func (x *exchange) authenticate() (r Reply, ok bool) {
	k := x.s.cfg.Keys.get(x.tsig.owner)
	if k == nil || string(k.alg.wire) != string(x.tsig.alg) {
		return x.refuse(badKey), false
	}
	id := binary.BigEndian.Uint16(x.plain)
	sess := &session{key: k, relayed: id != x.tsig.id, id: id}
	plain, code, err := sess.verify(x.plain, x.tsig, uint64(x.s.cfg.Now().Unix()))
	switch {
	case err != nil:
		return x.fail(dnswire.RcodeFormErr), false
	case code == badSig:
		return x.refuse(badSig), false
	}
	x.plain, x.sess = plain, sess
	if code != 0 {
		return x.refuse(code), false
	}
	x.s.metrics.tsig.WithLabelValues("good").Inc()
	return Reply{}, true
}

// refuse tells of a TSIG error. The reply is signed unless key or signature were bad.
func (x *exchange) refuse(code uint16) Reply {
	x.s.metrics.tsig.WithLabelValues(map[uint16]string{badSig: "badsig", badKey: "badkey", badTime: "badtime",
		badTrunc: "badtrunc"}[code]).Inc()
	msg := x.begin(rcodeNotAuth)
	now := uint64(x.s.cfg.Now().Unix())
	if code == badKey || code == badSig {
		t := &tsig{owner: x.tsig.owner, alg: x.tsig.alg, time: x.tsig.time, fudge: fudge, id: binary.BigEndian.Uint16(msg), err: code}
		return x.put(t.append(msg))
	}
	return x.put(x.sess.sign(msg, now, code, x.tsig.time))
}

// begin starts a reply that holds the question alone.
func (x *exchange) begin(rcode uint16) []byte {
	end := max(x.end, header)
	msg := append(make([]byte, 0, 512), x.plain[:end]...)
	flags := binary.BigEndian.Uint16(msg[2:])
	qd := uint16(1)
	if x.end == 0 {
		qd = 0
	}
	dnswire.SetHeader(msg, binary.BigEndian.Uint16(msg), dnswire.FlagQR|flags&(0xF<<11|dnswire.FlagRD)|rcode, qd, 0, 0, 0)
	if x.opt {
		msg = appendOPT(msg)
	}
	return msg
}

// fail answers with an RCODE alone.
func (x *exchange) fail(rcode uint16) Reply {
	if x.m.N < header {
		return Reply{}
	}
	return x.finish(x.begin(rcode))
}

// finish signs a reply where the message was, and puts it into its place.
func (x *exchange) finish(msg []byte) Reply {
	if x.sess != nil {
		msg = x.sess.sign(msg, uint64(x.s.cfg.Now().Unix()), 0, 0)
	}
	return x.put(msg)
}

func (x *exchange) put(msg []byte) Reply {
	if len(msg) > len(x.m.Buf) {
		return Reply{}
	}
	return Reply{Size: copy(x.m.Buf, msg)}
}

// ask has an ordinary question answered that was signed, and signs the answer.
func (x *exchange) ask(ask Ask) Reply {
	if x.sess == nil { // nobody should have come here with it
		return x.fail(dnswire.RcodeRefused)
	}
	buf := make([]byte, min(len(x.m.Buf), max(len(x.plain), x.limit())))
	n := copy(buf, x.plain)
	reserved := max(n, len(buf)-x.sess.overhead())
	size, deferred := ask(buf[:reserved], n)
	if size > reserved { // name and key are so long that not even an empty answer fits beside the signature
		return x.fail(dnswire.RcodeServFail)
	}
	if deferred || size <= 0 { // there is no answer to sign
		return Reply{Deferred: deferred}
	}
	r := x.finish(buf[:size:size])
	r.Truncated = size > 2 && buf[2]&flagTC != 0
	return r
}

// limit is how long the reply may be.
func (x *exchange) limit() int {
	if x.m.Stream {
		return len(x.m.Buf)
	}
	limit := 512
	if at := optAt(x.plain, x.end); at >= 0 {
		limit = max(512, min(udpSize, int(binary.BigEndian.Uint16(x.plain[at+3:]))))
	}
	return limit
}

// allowed reports whether a client may copy a zone.
func (x *exchange) allowed(z *table.Zone) bool {
	if z.Spec == nil || z.Spec.Transfer == nil {
		return false
	}
	for _, a := range z.Spec.Transfer.Allow {
		if a.Network.IsValid() && !a.Network.Contains(x.m.Source.Addr()) {
			continue
		}
		if a.Key == "" || x.sess != nil && x.sess.key.name == spec.KeyName(a.Key) {
			return true
		}
	}
	return false
}

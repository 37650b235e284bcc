package dnswire

import "strconv"

// Types (IANA, resource record types).
const (
	TypeA          uint16 = 1
	TypeNS         uint16 = 2
	TypeCNAME      uint16 = 5
	TypeSOA        uint16 = 6
	TypePTR        uint16 = 12
	TypeHINFO      uint16 = 13
	TypeMX         uint16 = 15
	TypeTXT        uint16 = 16
	TypeAAAA       uint16 = 28
	TypeLOC        uint16 = 29
	TypeSRV        uint16 = 33
	TypeNAPTR      uint16 = 35
	TypeDNAME      uint16 = 39
	TypeOPT        uint16 = 41
	TypeDS         uint16 = 43
	TypeSSHFP      uint16 = 44
	TypeRRSIG      uint16 = 46
	TypeNSEC       uint16 = 47
	TypeDNSKEY     uint16 = 48
	TypeNSEC3      uint16 = 50
	TypeNSEC3PARAM uint16 = 51
	TypeTLSA       uint16 = 52
	TypeCDS        uint16 = 59
	TypeCDNSKEY    uint16 = 60
	TypeCSYNC      uint16 = 62
	TypeZONEMD     uint16 = 63
	TypeSVCB       uint16 = 64
	TypeHTTPS      uint16 = 65
	TypeNXNAME     uint16 = 128 // RFC 9824
	TypeTKEY       uint16 = 249
	TypeTSIG       uint16 = 250
	TypeIXFR       uint16 = 251
	TypeAXFR       uint16 = 252
	TypeMAILB      uint16 = 253
	TypeMAILA      uint16 = 254
	TypeANY        uint16 = 255
	TypeURI        uint16 = 256
	TypeCAA        uint16 = 257
)

// Classes.
const (
	ClassIN   uint16 = 1
	ClassCH   uint16 = 3
	ClassNONE uint16 = 254
	ClassANY  uint16 = 255
)

// Rcodes. Those above 15 need an OPT record.
const (
	RcodeSuccess  uint16 = 0
	RcodeFormErr  uint16 = 1
	RcodeServFail uint16 = 2
	RcodeNXDomain uint16 = 3
	RcodeNotImp   uint16 = 4
	RcodeRefused  uint16 = 5
	RcodeYXDomain uint16 = 6
	RcodeNotAuth  uint16 = 9
	RcodeNotZone  uint16 = 10
	RcodeBadVers  uint16 = 16
	RcodeBadKey   uint16 = 17
	RcodeBadTime  uint16 = 18
	RcodeBadTrunc uint16 = 22
	RcodeBadCook  uint16 = 23
)

// Flags of the header's second word.
const (
	FlagQR uint16 = 1 << 15
	FlagAA uint16 = 1 << 10
	FlagTC uint16 = 1 << 9
	FlagRD uint16 = 1 << 8
	FlagRA uint16 = 1 << 7
	FlagAD uint16 = 1 << 5
	FlagCD uint16 = 1 << 4
)

// Codes of extended errors (RFC 8914, 4).
const (
	EDEOther                uint16 = 0
	EDEUnsupportedAlgorithm uint16 = 1
	EDEUnsupportedDSDigest  uint16 = 2
	EDEStaleAnswer          uint16 = 3
	EDEForgedAnswer         uint16 = 4
	EDEIndeterminate        uint16 = 5
	EDEBogus                uint16 = 6
	EDESignatureExpired     uint16 = 7
	EDESignatureNotYetValid uint16 = 8
	EDEDNSKEYMissing        uint16 = 9
	EDERRSIGsMissing        uint16 = 10
	EDENoZoneKeyBit         uint16 = 11
	EDENSECMissing          uint16 = 12
	EDECachedError          uint16 = 13
	EDENotReady             uint16 = 14
	EDEBlocked              uint16 = 15
	EDECensored             uint16 = 16
	EDEFiltered             uint16 = 17
	EDEProhibited           uint16 = 18
	EDEStaleNXDomain        uint16 = 19
	EDENotAuthoritative     uint16 = 20
	EDENotSupported         uint16 = 21
	EDENoReachableAuthority uint16 = 22
	EDENetworkError         uint16 = 23
	EDEInvalidData          uint16 = 24
	EDEInvalidQueryType     uint16 = 30
)

// TypeString gives a type's mnemonic, or TYPE65280 for one that has none here (RFC 3597, 5).
func TypeString(t uint16) string {
	for _, n := range typeNames {
		if n.code == t {
			return n.name
		}
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// RcodeString gives an rcode's mnemonic, or RCODE4095 for one that has none here.
func RcodeString(r uint16) string {
	for _, n := range rcodeNames {
		if n.code == r {
			return n.name
		}
	}
	return "RCODE" + strconv.Itoa(int(r))
}

type codeName struct {
	code uint16
	name string
}

var typeNames = []codeName{
	{TypeA, "A"}, {TypeNS, "NS"}, {TypeCNAME, "CNAME"}, {TypeSOA, "SOA"}, {TypePTR, "PTR"},
	{TypeHINFO, "HINFO"}, {TypeMX, "MX"}, {TypeTXT, "TXT"}, {TypeAAAA, "AAAA"}, {TypeLOC, "LOC"},
	{TypeSRV, "SRV"}, {TypeNAPTR, "NAPTR"}, {TypeDNAME, "DNAME"}, {TypeOPT, "OPT"}, {TypeDS, "DS"},
	{TypeSSHFP, "SSHFP"}, {TypeRRSIG, "RRSIG"}, {TypeNSEC, "NSEC"}, {TypeDNSKEY, "DNSKEY"},
	{TypeNSEC3, "NSEC3"}, {TypeNSEC3PARAM, "NSEC3PARAM"}, {TypeTLSA, "TLSA"}, {TypeCDS, "CDS"},
	{TypeCDNSKEY, "CDNSKEY"}, {TypeCSYNC, "CSYNC"}, {TypeZONEMD, "ZONEMD"}, {TypeSVCB, "SVCB"},
	{TypeHTTPS, "HTTPS"}, {TypeTKEY, "TKEY"}, {TypeTSIG, "TSIG"}, {TypeIXFR, "IXFR"}, {TypeAXFR, "AXFR"},
	{TypeMAILB, "MAILB"}, {TypeMAILA, "MAILA"}, {TypeANY, "ANY"}, {TypeURI, "URI"}, {TypeCAA, "CAA"},
}

var rcodeNames = []codeName{
	{RcodeSuccess, "NOERROR"}, {RcodeFormErr, "FORMERR"}, {RcodeServFail, "SERVFAIL"},
	{RcodeNXDomain, "NXDOMAIN"}, {RcodeNotImp, "NOTIMP"}, {RcodeRefused, "REFUSED"},
	{RcodeYXDomain, "YXDOMAIN"}, {RcodeNotAuth, "NOTAUTH"}, {RcodeNotZone, "NOTZONE"},
	{RcodeBadVers, "BADVERS"}, {RcodeBadKey, "BADKEY"}, {RcodeBadTime, "BADTIME"},
	{RcodeBadTrunc, "BADTRUNC"}, {RcodeBadCook, "BADCOOKIE"},
}

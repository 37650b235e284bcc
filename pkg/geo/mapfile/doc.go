// Package mapfile reads large lists of networks that belong to named maps, from text files:
//
//	# offices and partners
//	203.0.113.0/24   offices
//	203.0.113.128/25 -
//	2001:db8:77::/48,partner-two
//
// A line is a network and a name, with spaces or a comma between them; behind # stand comments. A name is of a-z, 0-9 and -, at most 63
// letters; the name - cuts a hole. An address belongs to the map that the longest network around it names. Of equal networks that of the
// first file counts; within one file they must agree.
//
// [Files] is what some files hold together, kept small: about six bytes for each network. It is immutable and safe for concurrent use.
package mapfile

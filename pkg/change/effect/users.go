package effect

import (
	"strconv"
	"strings"
)

// UsersSource says where the built-in weights of countries come from, for people.
const UsersSource = "Internet users by country, rounded (ITU and World Bank, 2022 and 2023)"

// usersText has the Internet users of countries and territories, in millions: the share of individuals that use the Internet (ITU, as in
// World Bank IT.NET.USER.ZS) times the population (World Bank SP.POP.TOTL) of 2022 or 2023. They were written down from what is publicly
// known of these figures and rounded by hand, not taken over line by line; of territories that neither lists they are estimates. They are
// good for weighing countries against each other, and for nothing finer.
const usersText = "AD 0.08, AE 9.4, AF 8, AG 0.09, AI 0.01, AL 2.3, AM 2.2, AO 14, AQ 0.001, AR 41, AS 0.03, AT 8.6, AU 25, AW 0.1, " +
	"AX 0.03, AZ 9, BA 2.7, BB 0.24, BD 77, BE 11, BF 5, BG 5.3, BH 1.5, BI 1.5, BJ 4.6, BL 0.01, BM 0.06, BN 0.44, " +
	"BO 8.5, BQ 0.02, BR 180, BS 0.38, BT 0.68, BW 2, BY 8.4, BZ 0.29, CA 37, CC 0.001, CD 29, CF 0.6, CG 2.2, CH 8.5, " +
	"CI 12.5, CK 0.01, CL 18, CM 12, CN 1080, CO 38, CR 4.4, CU 8, CV 0.43, CW 0.13, CX 0.002, CY 1.15, CZ 9.2, DE 77, " +
	"DJ 0.75, DK 5.8, DM 0.06, DO 9.8, DZ 34, EC 13.5, EE 1.25, EG 82, EH 0.2, ER 0.9, ES 45, ET 24, FI 5.2, FJ 0.8, " +
	"FK 0.003, FM 0.05, FO 0.05, FR 58, GA 1.7, GB 65, GD 0.09, GE 3.1, GF 0.2, GG 0.06, GH 24, GI 0.03, GL 0.05, GM 1.4, " +
	"GN 4.9, GP 0.3, GQ 1, GR 8.7, GS 0.0001, GT 10, GU 0.14, GW 0.7, GY 0.6, HK 7.1, HN 6, HR 3.2, HT 4.6, HU 8.7, " +
	"ID 192, IE 5, IL 8.4, IM 0.08, IN 790, IO 0.003, IQ 35, IR 72, IS 0.37, IT 51, JE 0.1, JM 2.3, JO 10.4, JP 106, " +
	"KE 21, KG 5.9, KH 10, KI 0.07, KM 0.23, KN 0.04, KP 0.02, KR 50, KW 4.3, KY 0.06, KZ 18.5, LA 4.8, LB 4.7, LC 0.14, " +
	"LI 0.04, LK 11, LR 1.6, LS 1, LT 2.5, LU 0.65, LV 1.7, LY 6, MA 34, MC 0.04, MD 2, ME 0.55, MF 0.03, MG 6, MH 0.03, " +
	"MK 1.55, ML 8, MM 24, MN 2.9, MO 0.6, MP 0.04, MQ 0.3, MR 2.1, MS 0.004, MT 0.5, MU 1, MV 0.44, MW 3.7, MX 105, " +
	"MY 33.5, MZ 6.6, NA 1.6, NC 0.24, NE 4.5, NF 0.001, NG 85, NI 4.2, NL 17.2, NO 5.4, NP 16.5, NR 0.01, NU 0.002, NZ 5, " +
	"OM 4.5, PA 3.3, PE 27, PF 0.22, PG 3.3, PH 86, PK 70, PL 33, PM 0.005, PN 0.0001, PR 2.7, PS 4.7, PT 8.9, PW 0.01, " +
	"PY 5.3, QA 2.7, RE 0.75, RO 17, RS 5.7, RU 132, RW 4.8, SA 36, SB 0.3, SC 0.09, SD 14, SE 10.1, SG 5.7, SH 0.002, " +
	"SI 1.9, SJ 0.003, SK 4.8, SL 1.8, SM 0.03, SN 10.6, SO 5, SR 0.47, SS 1.3, ST 0.13, SV 4, SX 0.04, SY 8, SZ 0.7, " +
	"TC 0.04, TD 2.3, TF 0.0001, TG 3.4, TH 64, TJ 5, TK 0.001, TL 0.5, TM 2.4, TN 9.8, TO 0.06, TR 74, TT 1.25, TV 0.01, " +
	"TW 21.5, TZ 20, UA 31, UG 7.5, UM 0.0003, US 312, UY 3.1, UZ 31, VA 0.0005, VC 0.08, VE 18, VG 0.03, VI 0.09, VN 78, " +
	"VU 0.15, WF 0.01, WS 0.16, XK 1.6, YE 6, YT 0.15, ZA 45, ZM 6.5, ZW 5.7"

// users gives the Internet users of a country, in millions, by its code of ISO 3166-1.
var users = func() map[string]float64 {
	of := make(map[string]float64, 256)
	for entry := range strings.SplitSeq(usersText, ", ") {
		code, number, _ := strings.Cut(entry, " ")
		of[code], _ = strconv.ParseFloat(number, 64) // a test reads all of them
	}
	return of
}()

// leastUsers stands for those of a country that the table lacks.
const leastUsers = 0.0001

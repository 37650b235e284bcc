package geo

import "strings"

// Continents are the codes of the seven continents, sorted.
var Continents = [...]string{"AF", "AN", "AS", "EU", "NA", "OC", "SA"}

// continentNames are the seven continents by code, as GeoIP2 databases use them.
var continentNames = map[string]string{
	"AF": "Africa", "AN": "Antarctica", "AS": "Asia", "EU": "Europe",
	"NA": "North America", "OC": "Oceania", "SA": "South America",
}

// countriesOf lists the codes of ISO 3166-1 by continent, as GeoNames (and so GeoIP2) assigns them, and XK,
// the user-assigned code that GeoIP2 uses for Kosovo.
var countriesOf = map[string]string{
	"AF": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU " +
		"MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
	"AN": "AQ BV GS HM TF",
	"AS": "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV " +
		"MY NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
	"EU": "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV " +
		"MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
	"NA": "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR " +
		"SV SX TC TT US VC VG VI",
	"OC": "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
	"SA": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
}

// continentOf gives the continent of each country code.
var continentOf = func() map[string]string {
	of := make(map[string]string, 256)
	for continent, countries := range countriesOf {
		for country := range strings.FieldsSeq(countries) {
			of[country] = continent
		}
	}
	return of
}()

// otherCodes are codes that people and registries write, or that ISO 3166-1 once had, for a country that has
// another one now.
var otherCodes = map[string]string{"UK": "GB", "EL": "GR", "TP": "TL", "BU": "MM", "ZR": "CD"}

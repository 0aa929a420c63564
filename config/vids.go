package config

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/vswitchd/vswitchd/frame"
)

// VIDRange is the VLANs from First to Last, both included.
type VIDRange struct{ First, Last frame.VID }

// VIDs is a set of VLANs: sorted ranges that neither overlap nor touch. The
// zero value is the empty set. A set is never changed once it is made, so
// copies may share it. In YAML and JSON it is a list such as [10, 20-29]; one
// number and a text such as "10,20-29" are read as well.
type VIDs []VIDRange

// VIDsOf returns the set of the given VLANs, each of which must be valid.
func VIDsOf(vids ...frame.VID) VIDs {
	ranges := make([]VIDRange, len(vids))
	for i, v := range vids {
		ranges[i] = VIDRange{v, v}
	}
	return normal(ranges)
}

// normal makes a set of ranges in any order, which it overwrites.
func normal(ranges []VIDRange) VIDs {
	slices.SortFunc(ranges, func(a, b VIDRange) int { return int(a.First) - int(b.First) })
	var s VIDs
	for _, r := range ranges {
		if n := len(s); n > 0 && r.First <= s[n-1].Last+1 {
			s[n-1].Last = max(s[n-1].Last, r.Last)
			continue
		}
		s = append(s, r)
	}
	return s
}

// Contains reports whether v is in the set.
func (s VIDs) Contains(v frame.VID) bool {
	return slices.ContainsFunc(s, func(r VIDRange) bool { return r.First <= v && v <= r.Last })
}

// All yields the VLANs in ascending order.
func (s VIDs) All() iter.Seq[frame.VID] {
	return func(yield func(frame.VID) bool) {
		for _, r := range s {
			for v := r.First; v <= r.Last; v++ {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// Len returns how many VLANs are in the set.
func (s VIDs) Len() int {
	n := 0
	for _, r := range s {
		n += int(r.Last-r.First) + 1
	}
	return n
}

// Equal reports whether both sets hold the same VLANs.
func (s VIDs) Equal(t VIDs) bool { return slices.Equal(s, t) }

// Union returns the VLANs that are in s, in t or in both.
func (s VIDs) Union(t VIDs) VIDs { return normal(slices.Concat(s, t)) }

// intersect returns the VLANs that are in both sets.
func (s VIDs) intersect(t VIDs) VIDs {
	var both []VIDRange
	for _, a := range s {
		for _, b := range t {
			if r := (VIDRange{max(a.First, b.First), min(a.Last, b.Last)}); r.First <= r.Last {
				both = append(both, r)
			}
		}
	}
	return normal(both)
}

// String returns the set as 10,20-29; the empty set is the empty string.
func (s VIDs) String() string {
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// String returns the range as 20-29, or as 20 if it is one VLAN.
func (r VIDRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalJSON writes the list form: [10,"20-29"].
func (s VIDs) MarshalJSON() ([]byte, error) {
	list := make([]any, len(s))
	for i, r := range s {
		if list[i] = r.String(); r.First == r.Last {
			list[i] = r.First
		}
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads each of the forms. The error is a Problem without Path.
func (s *VIDs) UnmarshalJSON(raw []byte) error {
	texts, err := elements(raw, "write "+wantedVIDs)
	if err != nil {
		return err
	}
	var ranges []VIDRange
	for _, text := range texts {
		for part := range strings.SplitSeq(text, ",") {
			r, err := parseRange(strings.TrimSpace(part))
			if err != nil {
				return err
			}
			ranges = append(ranges, r)
		}
	}
	*s = normal(ranges)
	return nil
}

// ParseVIDs reads a set written as 10,20-29. The error is a Problem without
// Path.
func ParseVIDs(text string) (VIDs, error) {
	var s VIDs
	raw, err := json.Marshal(text)
	if err == nil {
		err = s.UnmarshalJSON(raw)
	}
	return s, err
}

func parseRange(text string) (VIDRange, error) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	r := VIDRange{parseVID(strings.TrimSpace(from)), parseVID(strings.TrimSpace(to))}
	if r.First == 0 || r.Last == 0 {
		return r, Problem{Msg: quote(text) + " is not a VLAN or a range of them", Fix: "write " + wantedVIDs}
	}
	if r.Last < r.First {
		return r, Problem{Msg: quote(text) + " is a reversed range", Fix: "write " + VIDRange{r.Last, r.First}.String()}
	}
	return r, nil
}

// parseVID returns 0 for what is not a VLAN. Leading zeros are not taken: 010
// is 8 to some readers of YAML.
func parseVID(text string) frame.VID {
	n, err := strconv.ParseUint(text, 10, 16)
	if v := frame.VID(n); err == nil && v.Valid() && text[0] != '0' {
		return v
	}
	return 0
}

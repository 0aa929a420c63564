package control

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// The values of FDBEntry.State.
const (
	dynamic   = "dynamic"
	static    = "static"
	blackhole = "blackhole"
)

var states = map[fdb.Kind]string{fdb.Dynamic: dynamic, fdb.Static: static, fdb.Blackhole: blackhole}

func (s *Server) listFDB(r *http.Request, _ []byte) (any, error) {
	q := r.URL.Query()
	vlan, err := vlanParameter(q.Get("vlan"))
	if err == nil {
		err = s.checkVLAN(vlan)
	}
	if err != nil {
		return nil, err
	}
	mac, err := macParameter(q.Get("mac"))
	if err != nil {
		return nil, err
	}
	return s.entries(vswitch.FDBFilter{Port: q.Get("port"), VID: vlan, MAC: mac})
}

// checkVLAN refuses to choose entries by a VLAN that none can have.
func (s *Server) checkVLAN(v *frame.VID) error {
	switch {
	case v == nil:
		return nil
	case !s.sw.VLANAware():
		return invalid("vlan: the switch is not VLAN aware, its entries have no VLAN; leave it out")
	case !v.Valid():
		return notAVLAN(strconv.Itoa(int(*v)))
	}
	return nil
}

// entries lists what matches by VLAN and address.
func (s *Server) entries(f vswitch.FDBFilter) ([]FDBEntry, error) {
	found, err := s.sw.FDB(f)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b vswitch.FDBEntry) int {
		return cmp.Or(cmp.Compare(a.VID, b.VID), cmp.Compare(a.MAC.Uint64(), b.MAC.Uint64()))
	})
	ifnames := map[string]string{}
	for _, p := range s.sw.Ports() {
		ifnames[p.Config.Name] = p.Link.Ifname
	}
	entries := make([]FDBEntry, len(found))
	for i, e := range found {
		entries[i] = FDBEntry{MAC: e.MAC, VLAN: e.VID, Port: e.Port, Ifname: ifnames[e.Port], State: states[e.Kind]}
		if e.Kind == fdb.Dynamic {
			entries[i].Age = &e.Age
		}
	}
	return entries, nil
}

func (s *Server) addFDB(_ *http.Request, body []byte) (any, error) {
	var e FDBEntry
	if err := decode(body, fields{"mac": &e.MAC, "vlan": &e.VLAN, "port": &e.Port, "state": &e.State}); err != nil {
		return nil, err
	}
	switch {
	case e.MAC.IsZero():
		return nil, invalid("mac: the key is missing")
	case e.State != "" && e.State != static && e.State != blackhole:
		return nil, invalid("state: %.40q: an entry that is added is static or blackhole", e.State)
	case e.Port == "" && e.State != blackhole:
		return nil, invalid(`port: the key is missing; name a port, or state "blackhole"`)
	case e.Port != "" && e.State == blackhole:
		return nil, invalid("port: a blackhole entry has no port")
	}
	if err := s.running.Change(func() error { return s.sw.AddFDB(e.MAC, e.VLAN, e.Port) }); err != nil {
		return nil, err
	}
	if e.State == "" {
		e.State = static
	}
	return &e, nil
}

func (s *Server) removeFDB(r *http.Request, _ []byte) (any, error) {
	q := r.URL.Query()
	mac, err := macParameter(q.Get("mac"))
	if err != nil {
		return nil, err
	}
	if mac == nil {
		return nil, invalid("mac: the parameter is missing")
	}
	vlan, err := vlanParameter(q.Get("vlan"))
	if err != nil {
		return nil, err
	}
	if vlan == nil {
		vlan = new(frame.VID)
	}
	return nil, s.running.Change(func() error { return s.sw.RemoveFDB(*mac, *vlan) })
}

func (s *Server) flushFDB(_ *http.Request, body []byte) (any, error) {
	var f FDBFlush
	var port *string
	if err := decode(body, fields{"port": &port, "vlan": &f.VLAN, "mac": &f.MAC}); err != nil {
		return nil, err
	}
	if port != nil {
		if f.Port = *port; f.Port == "" {
			return nil, invalid("port: the name is empty; leave the key out to flush all ports")
		}
	}
	if err := s.checkVLAN(f.VLAN); err != nil {
		return nil, err
	}
	n, err := s.sw.FlushFDB(vswitch.FDBFilter{Port: f.Port, VID: f.VLAN, MAC: f.MAC})
	return &FDBFlushed{Removed: n}, err
}

func (s *Server) fdbSettings(*http.Request, []byte) (any, error) {
	i := fdbInfo(s.sw)
	answer := &FDBSettings{Ageing: &i.Ageing, Limit: new(NoLimit)}
	if i.Limit != nil {
		answer.Limit = new(Limit(*i.Limit))
	}
	return answer, nil
}

func (s *Server) setFDB(r *http.Request, body []byte) (any, error) {
	var f FDBSettings
	if err := decode(body, fields{"ageing": &f.Ageing, "limit": &f.Limit}); err != nil {
		return nil, err
	}
	if most := fdbInfo(s.sw).Capacity; f.Limit != nil && int(*f.Limit) > most {
		return nil, invalid(`limit: %d addresses are more than the FDB's capacity of %d; "none" leaves it at that`, *f.Limit, most)
	}
	err := s.running.Change(func() error {
		return s.sw.SetFDB(vswitch.FDBSettings{Ageing: f.Ageing, Limit: (*int)(f.Limit)})
	})
	if err != nil {
		return nil, err
	}
	return s.fdbSettings(r, nil)
}

func fdbInfo(sw *vswitch.Switch) FDBInfo {
	s, ageing := sw.FDBStats()
	i := FDBInfo{
		Capacity: s.Capacity, Ageing: ageing,
		Dynamic: s.Dynamic, Static: s.Static, Blackhole: s.Blackhole,
		Learned: s.Learned, Moved: s.Moved, Aged: s.Aged, Evicted: s.Evicted, Refused: s.Refused, Flushed: s.Flushed,
	}
	if s.Limit >= 0 && s.Limit < s.Capacity {
		i.Limit = &s.Limit
	}
	return i
}

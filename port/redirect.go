package port

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// redirectPref is the preference of the switch's filters, by which they are
// known for the switch's.
const redirectPref = 0x7673

// ingress is the handle of an ingress qdisc.
var ingress = netlink.MakeHandle(0xffff, 0)

// classifiers make a filter that matches every frame, the cheapest first: a
// kernel need not have them all. The u32 has no key to compare, for it does not
// match a frame that ends in front of one.
var classifiers = []func(netlink.FilterAttrs, netlink.Action) netlink.Filter{
	func(a netlink.FilterAttrs, do netlink.Action) netlink.Filter {
		return &netlink.MatchAll{FilterAttrs: a, Actions: []netlink.Action{do}}
	},
	func(a netlink.FilterAttrs, do netlink.Action) netlink.Filter {
		return &netlink.U32{FilterAttrs: a, Sel: &netlink.TcU32Sel{Flags: netlink.TC_U32_TERMINAL}, Actions: []netlink.Action{do}}
	},
}

// redirect has the kernel send all that comes in by the link from out of the link
// to, before anybody but packet sockets sees it. If that link goes or is down, the
// frames are dropped.
func redirect(h *netlink.Handle, from, to int) error {
	qdisc := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: from, Handle: ingress, Parent: netlink.HANDLE_INGRESS}}
	if err := h.QdiscAdd(qdisc); err != nil {
		return fmt.Errorf("add an ingress qdisc: %w", err)
	}
	at := netlink.FilterAttrs{LinkIndex: from, Parent: ingress, Priority: redirectPref, Protocol: unix.ETH_P_ALL}
	var err error
	for _, classifier := range classifiers {
		err = h.FilterAdd(classifier(at, netlink.NewMirredAction(to)))
		if !errors.Is(err, unix.ENOENT) { // Else the kernel has no such classifier.
			break
		}
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.ENOENT) {
		err = errNoRedirect
	}
	return errors.Join(err, h.QdiscDel(qdisc))
}

var errNoRedirect = errors.New("the kernel lacks act_mirred, or both of cls_matchall and cls_u32")

// unredirect undoes redirect, if it is still there.
func unredirect(h *netlink.Handle, from int) error {
	qdisc, ours, err := ingressOf(h, from)
	if err != nil || !ours {
		return err
	}
	return h.QdiscDel(qdisc)
}

// redirected reports whether a link is a port of a switch that lives: when a TAP
// ends, the kernel takes it out of the redirection.
func redirected(h *netlink.Handle, from int) bool {
	filters, _ := redirections(h, from) // None, without an answer.
	for _, f := range filters {
		var actions []netlink.Action
		switch f := f.(type) {
		case *netlink.MatchAll:
			actions = f.Actions
		case *netlink.U32:
			actions = f.Actions
		}
		for _, a := range actions {
			if to, ok := a.(*netlink.MirredAction); ok && to.Ifindex != 0 {
				return true
			}
		}
	}
	return false
}

// redirections returns the switch's filters at a link.
func redirections(h *netlink.Handle, index int) (ours []netlink.Filter, err error) {
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
	var filters []netlink.Filter
	_, err = whole(func() (err error) {
		filters, err = h.FilterList(link, ingress)
		return err
	})
	for _, f := range filters {
		if f.Attrs().Priority == redirectPref {
			ours = append(ours, f)
		}
	}
	return ours, err
}

// ingressOf returns the qdisc that deals with what comes in by a link, nil for
// none, and whether it is one that redirect has made.
func ingressOf(h *netlink.Handle, index int) (at netlink.Qdisc, ours bool, err error) {
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
	var qdiscs []netlink.Qdisc
	if _, err = whole(func() (err error) {
		qdiscs, err = h.QdiscList(link)
		return err
	}); err != nil {
		return nil, false, err
	}
	for _, q := range qdiscs {
		if kind := q.Type(); kind == "ingress" || kind == "clsact" {
			at = q
		}
	}
	if at == nil || at.Type() != "ingress" {
		return at, false, nil
	}
	filters, err := redirections(h, index)
	return at, len(filters) > 0, err
}

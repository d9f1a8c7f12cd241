// What our kernels do to memory, watched: bounds, alignment, races, reads of what nobody has written; and how neighbours' accesses
// lie beside each other.
//
// kernels_on_host.py puts a call of host_access before every load, store and atomic. What is known of a place is kept in a cell
// for every four bytes (for every byte, from the first access on that is smaller or lies askew).
//
// When one access comes before another, by what CUDA promises: both are of one thread; or of one block with a __syncthreads
// between; or of one warp with a __syncwarp of all its threads between. A shuffle orders no memory. Blocks of one launch are never
// ordered; launches always are. Two accesses of one place by different threads, of which one writes and not both are atomic, must
// be ordered. Remembered are the last write and up to three reads since, so a race that hides behind another is found once the
// first is mended; a plain access beside an atomic one of a third thread can be missed.
#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime.h"

namespace {

// An access: thread of the block (10 bits), barriers of the block so far (27), of its warp so far (27), both counted over the
// whole launch, so that they also tell the block.
typedef uint64_t Access;
Access access(unsigned thread, uint64_t block_time, uint64_t warp_time) { return block_time << 37 | warp_time << 10 | thread; }
unsigned thread_of(Access a) { return a & 1023; }
uint64_t block_time(Access a) { return a >> 37; }
uint64_t warp_time(Access a) { return a >> 10 & 0x7FFFFFF; }

struct Cell {
  uint32_t era;  // the launch, or for shared memory the block, that the rest is of
  bool by_atomic;
  Access write, read, near, far;  // 0: none. near: a read by another thread of the warp, far: of another warp
};

struct Shadow {
  std::vector<Cell> cells;
  unsigned shift = 2;  // a cell for 1 << shift bytes
  size_t size = 0;

  void cover(size_t bytes) {
    size = bytes;
    cells.assign((bytes >> shift) + 1, Cell{});
  }
  void refine() {
    std::vector<Cell> fine(size + 1, Cell{});
    for (size_t i = 0; i < size; i++) fine[i] = cells[i >> shift];
    cells.swap(fine);
    shift = 0;
  }
};

std::unordered_map<intptr_t, Shadow> shadows;  // of the launch, by the address of the piece
Shadow of_shared;
uint32_t eras = 0, launch_era = 0, block_era = 0;
uint64_t block_clock = 1, warp_clock = 1, first_of_block = 1;
uint64_t warp_clocks[32];

struct Piece {
  intptr_t start = 0;
  size_t size = 0;
  Shadow* shadow = nullptr;
};
Piece known[4];
unsigned next_known = 0;

std::string at(unsigned site) { return std::string(" at ") + running->sites[site]; }

std::string words(unsigned kind, uint64_t size) {
  return std::string(kind & ATOMIC ? "updates " : kind & WRITE ? "writes " : "reads ") + std::to_string(size) + " bytes";
}

const char* const ADDRESS = " at byte ";

Piece* piece_of(intptr_t place) {
  for (Piece& one : known)
    if (one.shadow && place >= one.start && place < one.start + intptr_t(one.size)) return &one;
  auto after = blocks.upper_bound(place);
  if (after == blocks.begin()) return nullptr;
  auto found = std::prev(after);
  if (place >= found->first + intptr_t(found->second.size)) return nullptr;
  Shadow& shadow = shadows[found->first];
  if (!shadow.size) shadow.cover(found->second.size);
  Piece& one = known[next_known++ % 4];
  one = {found->first, found->second.size, &shadow};
  return &one;
}

// Where an address lies that is in no piece: after which one.
std::string nearest(intptr_t place) {
  auto after = blocks.upper_bound(place);
  if (after == blocks.begin()) return place ? "before all memory" : "at address 0";
  auto found = std::prev(after);
  return std::to_string(place - found->first) + " bytes after the start of a piece of " + std::to_string(found->second.size);
}

// Whether the earlier access comes before this one.
bool ordered(Access earlier, Access later) {
  if (block_time(earlier) < first_of_block) return false;  // another block's
  if (thread_of(earlier) == thread_of(later)) return true;
  if (block_time(earlier) < block_time(later)) return true;
  return thread_of(earlier) / 32 == thread_of(later) / 32 && warp_time(earlier) < warp_time(later);
}

[[noreturn]] void race(Access earlier, const char* did, unsigned kind, uint64_t size, size_t offset, const char* what,
                       unsigned site) {
  std::string who = block_time(earlier) < first_of_block
                        ? "a thread of another block"
                        : "thread number " + std::to_string(thread_of(earlier)) + " of its block";
  stop(words(kind, size) + ADDRESS + std::to_string(offset) + " of " + what + at(site) + ", a race: " + who + " " + did +
       " it, and nothing orders the two");
}

void record(Cell& cell, uint32_t era, Access mine, unsigned kind, uint64_t size, size_t offset, const char* what, unsigned site) {
  if (cell.era != era) cell = Cell{}, cell.era = era;
  bool atomic = kind & ATOMIC, writes = kind & (WRITE | ATOMIC);
  if (cell.write && !(atomic && cell.by_atomic) && !ordered(cell.write, mine))
    race(cell.write, "wrote", kind, size, offset, what, site);
  if (writes) {
    for (Access earlier : {cell.read, cell.near, cell.far})
      if (earlier && !ordered(earlier, mine)) race(earlier, "read", kind, size, offset, what, site);
    cell.write = mine;
    cell.by_atomic = atomic;
    cell.read = cell.near = cell.far = 0;
    return;
  }
  if (cell.read && (thread_of(cell.read) != thread_of(mine) || block_time(cell.read) < first_of_block)) {
    bool same_block = block_time(cell.read) >= first_of_block;
    if (same_block && thread_of(cell.read) / 32 == thread_of(mine) / 32)
      cell.near = cell.read;
    else if (!cell.far || block_time(cell.far) >= first_of_block)  // one of another block is kept: nothing ever orders it
      cell.far = cell.read, cell.near = 0;
  }
  cell.read = mine;
}

// ------------------------------------------------------------------------------- how the accesses of a warp lie side by side

struct One {
  unsigned site, turn, lane;
  uint64_t size;
  intptr_t place;
  bool shared;
};
struct Count {
  uint64_t accesses = 0, taken = 0, least = 0;
};
bool measuring = false;
std::vector<std::vector<One>> waiting(32);              // by warp
std::vector<std::unordered_map<unsigned, unsigned>> turns;  // thread -> site -> how often since the last flush
std::map<std::pair<std::string, std::string>, Count> counts[2];  // (kernel, site): global memory, shared memory

void measure(intptr_t place, uint64_t size, unsigned site, bool shared) {
  if (turns.size() < count) turns.resize(count);
  waiting[now / 32].push_back({site, turns[now][site]++, now % 32, size, place, shared});
}

// Shared memory has 32 banks of four bytes; a warp's accesses of 8 or 16 bytes go in two or four parts. What one bank has to give
// at different places takes one more turn each.
void count_banks(const One* first, const One* last, Count& total) {
  unsigned parts = unsigned(std::max<uint64_t>(first->size / 4, 1)), lanes = 32 / parts;
  for (unsigned part = 0; part < parts; part++) {
    std::set<intptr_t> banks[32];
    bool any = false;
    for (const One* one = first; one != last; one++)
      if (one->lane / lanes == part)
        for (intptr_t word = one->place / 4; word <= (one->place + intptr_t(one->size) - 1) / 4; word++)
          banks[word % 32].insert(word), any = true;
    size_t most = 0;
    for (auto& bank : banks) most = std::max(most, bank.size());
    total.taken += most;
    total.least += any;
  }
}

// Device memory comes in sectors of 32 bytes.
void count_sectors(const One* first, const One* last, Count& total) {
  std::set<intptr_t> sectors, bytes;
  for (const One* one = first; one != last; one++)
    for (intptr_t byte = one->place; byte < one->place + intptr_t(one->size); byte++) {
      sectors.insert(byte / 32);
      bytes.insert(byte);
    }
  total.taken += sectors.size();
  total.least += (bytes.size() + 31) / 32;
}

}  // namespace

void detector::begin_launch() {
  shadows.clear();
  for (Piece& one : known) one.shadow = nullptr;
  launch_era = ++eras;
  block_clock = warp_clock = 1;
}

void detector::begin_block() {
  block_era = ++eras;
  first_of_block = ++block_clock;
  warp_clock++;
  std::fill(warp_clocks, warp_clocks + 32, warp_clock);
  if (running->shared_size > of_shared.size) of_shared.cover(running->shared_size);
}

void detector::block_barrier() { block_clock++; }

void detector::warp_barrier(unsigned warp) { warp_clocks[warp] = ++warp_clock; }

void detector::end_of_warp_turn(unsigned warp) {
  auto& all = waiting[warp];
  if (!measuring || all.empty()) return;
  std::stable_sort(all.begin(), all.end(),
                   [](const One& a, const One& b) { return std::tie(a.site, a.turn) < std::tie(b.site, b.turn); });
  for (size_t start = 0, end = 0; start < all.size(); start = end) {
    while (end < all.size() && all[end].site == all[start].site && all[end].turn == all[start].turn) end++;
    Count& total = counts[all[start].shared][{running->name, running->sites[all[start].site]}];
    total.accesses++;
    (all[start].shared ? count_banks : count_sectors)(&all[start], &all[start] + (end - start), total);
  }
  all.clear();
  for (unsigned i = warp * 32; i < std::min<unsigned>(turns.size(), warp * 32 + 32); i++) turns[i].clear();
}

void host_access(void* pointer, uint64_t size, uint64_t alignment, unsigned kind, unsigned site) {
  intptr_t place = intptr_t(pointer);
  if (on_stack(place)) return;
  if (std::max(block_clock, warp_clock) >= 1u << 27) stop("of a launch with more barriers than can be counted");
  Access mine = access(now, block_clock, warp_clocks[now / 32]);
  bool shared = place >= intptr_t(running->shared) && place < intptr_t(running->shared) + intptr_t(running->shared_size);
  if (place % intptr_t(alignment))
    stop(words(kind, size) + at(site) + ", at an address that is no multiple of " + std::to_string(alignment) + " (it is " +
         (shared ? "shared memory)" : nearest(place) + ")"));
  if (measuring) measure(place, size, site, shared);
  Shadow* shadow;
  size_t offset;
  const char* what;
  uint32_t era;
  if (shared) {
    offset = size_t(place - intptr_t(running->shared));
    bool inside = false;
    for (uint32_t i = 0; i < running->array_count; i++)
      inside = inside || (offset >= running->arrays[2 * i] && offset + size <= running->arrays[2 * i] + running->arrays[2 * i + 1]);
    if (!inside) stop(words(kind, size) + at(site) + ", outside of the shared arrays" + ADDRESS + std::to_string(offset));
    shadow = &of_shared, what = "shared memory", era = block_era;
  } else {
    Piece* piece = piece_of(place);
    if (!piece || place + intptr_t(size) > piece->start + intptr_t(piece->size))
      stop(words(kind, size) + at(site) + ", out of bounds: " + nearest(place));
    offset = size_t(place - piece->start);
    shadow = piece->shadow, what = "device memory", era = launch_era;
    if (kind & READ_FLOAT) {
      bool fresh = true;
      for (uint64_t i = 0; i < size; i++) fresh = fresh && reinterpret_cast<unsigned char*>(pointer)[i] == 0xFF;
      if (fresh) stop(words(kind, size) + at(site) + ", device memory that nobody has written: " + nearest(place));
    }
  }
  if (shadow->shift && (size % 4 || offset % 4)) shadow->refine();
  for (size_t cell = offset >> shadow->shift; cell <= (offset + size - 1) >> shadow->shift; cell++) {
    if (shared && !(kind & WRITE) && (shadow->cells[cell].era != era || !shadow->cells[cell].write))
      stop(words(kind, size) + ADDRESS + std::to_string(offset) + " of shared memory that no thread of the block has written" +
           at(site));
    record(shadow->cells[cell], era, mine, kind, size, offset, what, site);
  }
}

extern "C" void host_measure(int wanted) {
  measuring = wanted;
  for (auto& one : waiting) one.clear();
  turns.clear();
  counts[0].clear();
  counts[1].clear();
}

// "kernel TAB site TAB global or shared TAB accesses TAB taken TAB least" lines of what was measured.
extern "C" const char* host_measured() {
  static std::string result;
  result.clear();
  for (int shared = 0; shared < 2; shared++)
    for (auto& [key, total] : counts[shared])
      result += key.first + "\t" + key.second + "\t" + (shared ? "shared" : "global") + "\t" + std::to_string(total.accesses) +
                "\t" + std::to_string(total.taken) + "\t" + std::to_string(total.least) + "\n";
  return result.c_str();
}

// Enlargement, softmax and choice of the class on the CPU. compiled.py tells how, and calls it.
//
// Every loop over pixels or queries goes in vectors of LANES floats: 8 with -mavx2, else 4.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#ifndef LANES
#define LANES 4
#endif

namespace {

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

constexpr int SIDE = 16;                // pixels of a patch each way
constexpr int PARTS = SIDE / LANES;     // vectors in a row of a patch
constexpr float LITTLE = 0.01f;         // of probability: what may be part of the rest
constexpr float LEAST_RESTS = 0.25f;    // by which that is lowered where the rest is too much
constexpr float REST = 0.02f;           // of probability: what the rest may be
constexpr float NOTHING = 2e-3f;        // of probability: a rest that does not count
constexpr float NEAR = 0.02f;           // to the least probability of a label: all are summed
constexpr float NONE = -1e4f;           // logarithm of nothing
constexpr float LOWEST = -3e38f;

inline Floats load(const float* from) {
  Floats values;
  std::memcpy(&values, from, sizeof values);
  return values;
}

inline void store(float* to, Floats values) { std::memcpy(to, &values, sizeof values); }

inline Floats all(float value) { return Floats{} + value; }

inline Floats highest(Floats one, Floats other) { return one > other ? one : other; }

inline Floats lowest(Floats one, Floats other) { return one < other ? one : other; }

inline float across(Floats values) {
  float best = values[0];
  for (int lane = 1; lane < LANES; ++lane) best = std::max(best, values[lane]);
  return best;
}

// exp of values up to 0, to 2e-7: a power of two, times exp's series for what rounding left.
inline Floats exponential(Floats values) {
  const Floats power = highest(values * 1.44269504f, all(-127.0f));
  const Integers whole = __builtin_convertvector(power - 0.5f, Integers);  // the nearest: it is < 0
  const Floats part = (power - __builtin_convertvector(whole, Floats)) * 0.69314718f;
  const Floats series = 1.0f + part * (1.0f + part * (0.5f + part * (1.66666667e-1f + part
      * (4.16666667e-2f + part * (8.33333333e-3f + part * 1.38888889e-3f)))));
  return power > -126.0f ? series * reinterpret_cast<Floats>((whole + 127) << 23) : Floats{};
}

int padded(int count) { return (count + LANES - 1) / LANES * LANES; }

// A direction of the picture: which cells reach each patch, (patches, reach), and by which weights
// they reach its pixels, (patches, reach, SIDE).
struct Cut {
  const int32_t* cells;
  const float* weights;
  int patches, reach;
};

// Log probabilities and probabilities of all queries at the cells of some rows, (w, P) each.
class Rows {
 public:
  Rows(const float* values, int queries, int width, float scale, int kept)
      : values_(values), queries_(queries), width_(width), scale_(scale), owner_(2 * kept, -1),
        size_(static_cast<size_t>(width) * padded(queries)), logs_(owner_.size() * size_),
        shares_(logs_.size()), line_(static_cast<size_t>(queries) * padded(width)) {}

  // Make the rows that a patch needs available; the others may go.
  void need(const int32_t* rows, int count, const float** logs, const float** shares) {
    for (int index = 0; index < count; ++index) {
      auto found = std::find(owner_.begin(), owner_.end(), rows[index]);
      if (found == owner_.end()) {
        found = std::find_if(owner_.begin(), owner_.end(), [&](int owner) {
          return std::find(rows, rows + count, owner) == rows + count; });
        *found = rows[index];
        fill(rows[index], found - owner_.begin());
      }
      logs[index] = &logs_[(found - owner_.begin()) * size_];
      shares[index] = &shares_[(found - owner_.begin()) * size_];
    }
  }

 private:
  void fill(int row, size_t slot) {
    const int wide = padded(width_), deep = padded(queries_);
    for (int query = 0; query < queries_; ++query) {
      float* line = &line_[static_cast<size_t>(query) * wide];
      std::memcpy(line, values_ + (static_cast<size_t>(row) * queries_ + query) * width_,
                  4 * width_);
      std::fill(line + width_, line + wide, 0.0f);
    }
    for (int cell = 0; cell < wide; cell += LANES) {
      float* here = &line_[cell];
      Floats top = all(LOWEST), sum{};
      for (int query = 0; query < queries_; ++query)
        top = highest(top, load(here + static_cast<size_t>(query) * wide));
      for (int query = 0; query < queries_; ++query) {
        float* score = here + static_cast<size_t>(query) * wide;
        const Floats below = (load(score) - top) * scale_;
        sum += exponential(below);
        store(score, below);
      }
      Floats total;
      for (int lane = 0; lane < LANES; ++lane) total[lane] = std::log(sum[lane]);
      for (int query = 0; query < queries_; ++query) {
        float* score = here + static_cast<size_t>(query) * wide;
        store(score, load(score) - total);
      }
    }
    float* logs = &logs_[slot * size_];
    float* shares = &shares_[slot * size_];
    for (int cell = 0; cell < width_; ++cell) {
      float* column = logs + static_cast<size_t>(cell) * deep;
      for (int query = 0; query < queries_; ++query)
        column[query] = line_[static_cast<size_t>(query) * wide + cell];
      std::fill(column + queries_, column + deep, NONE);
    }
    for (size_t index = 0; index < size_; index += LANES)
      store(shares + index, exponential(load(logs + index)));
  }

  const float* values_;
  int queries_, width_;
  float scale_;
  std::vector<int> owner_;
  size_t size_;
  std::vector<float> logs_, shares_, line_;
};

// What decides a patch; all queries that are not chosen are its rest, as one query more.
class Patch {
 public:
  Patch(int queries, int nodes, int columns, const uint8_t* allowed, const uint8_t* classes)
      : queries_(queries), deep_(padded(queries)), nodes_(nodes), allowed_(allowed),
        classes_(classes), mask_(deep_, LOWEST), high_(deep_), chosen_(queries),
        near_(static_cast<size_t>(queries + 1) * nodes), taller_(static_cast<size_t>(queries + 1) * columns * SIDE),
        scores_((queries + 1) * PARTS) {
    for (int query = 0; query < queries; ++query)
      if (allowed[query]) mask_[query] = 0.0f;
  }

  // Find the highest value of each query, and below which none can win. What queries count for at
  // a pixel is at most what they do at a cell, over what the best one has at every cell.
  void look(const float* const* logs) {
    Floats floor = all(LOWEST), ground = floor;
    for (int query = 0; query < deep_; query += LANES) {
      Floats low = load(logs[0] + query), high = low;
      for (int node = 1; node < nodes_; ++node) {
        const Floats value = load(logs[node] + query);
        low = lowest(low, value);
        high = highest(high, value);
      }
      store(&high_[query], high);
      floor = highest(floor, low + load(&mask_[query]));
      ground = highest(ground, low);
    }
    floor_ = across(floor);
    ground_ = across(ground);
  }

  // Choose those that can win or count for something; all of them if asked.
  void choose(const float* const* logs, const float* const* shares, bool all_of_them) {
    float little = all_of_them ? 0.0f : LITTLE, most = 0.0f;
    const float growth = std::exp(-ground_);
    do {
      const float bound =
          little > 0.0f ? std::min(floor_, ground_ + std::log(little)) : LOWEST;
      count_ = 0;
      for (int query = 0; query < queries_; ++query)
        if (high_[query] >= bound) chosen_[count_++] = query;
      most = count_ == queries_ ? 0.0f : rest(shares);
      little = little > 1e-6f ? little * LEAST_RESTS : 0.0f;
    } while (most * growth > REST);
    for (int node = 0; node < nodes_; ++node)
      for (int index = 0; index < count_; ++index)
        near_[index * nodes_ + node] = logs[node][chosen_[index]];
    rest_ = most * growth > NOTHING;
    for (int node = 0; rest_ && node < nodes_; ++node) {
      float& left = near_[count_ * nodes_ + node];
      left = std::log(left);
    }
  }

  bool whole() const { return count_ == queries_; }

  // Enlarge downwards: (queries, columns, SIDE).
  void stretch(const float* weights, int rows, int columns) {
    for (int index = 0; index < count_ + rest_; ++index)
      for (int column = 0; column < columns; ++column)
        for (int part = 0; part < PARTS; ++part) {
          Floats sum{};
          for (int row = 0; row < rows; ++row)
            sum += load(weights + row * SIDE + part * LANES)
                   * near_[index * nodes_ + row * columns + column];
          store(&taller_[(index * columns + column) * SIDE + part * LANES], sum);
        }
  }

  // Decide a row of the patch: labels and confidence of SIDE pixels.
  void decide(int row, const float* weights, int columns, uint8_t* labels, float* confidence) {
    for (int part = 0; part < PARTS; ++part) {
      Floats best = all(LOWEST), top = best, total{};
      Integers winner{};
      for (int index = 0; index < count_ + rest_; ++index) {
        Floats score{};
        for (int column = 0; column < columns; ++column)
          score += load(weights + column * SIDE + part * LANES)
                   * taller_[(index * columns + column) * SIDE + row];
        scores_[index] = score;
        top = highest(top, score);
        if (index < count_ && allowed_[chosen_[index]]) {
          const Integers better = score > best;
          winner = better ? Integers{} + classes_[chosen_[index]] : winner;
          best = better ? score : best;
        }
      }
      for (int index = 0; index < count_ + rest_; ++index)
        total += exponential(scores_[index] - top);
      store(confidence + part * LANES, exponential(best - top) / total);
      const Bytes narrow = __builtin_convertvector(winner, Bytes);
      std::memcpy(labels + part * LANES, &narrow, sizeof narrow);
    }
  }

 private:
  // Write what is left at each node where the chosen are taken out; return the most.
  float rest(const float* const* shares) {
    float most = 0.0f;
    for (int node = 0; node < nodes_; ++node) {
      float left = 1.0f;
      for (int index = 0; index < count_; ++index) left -= shares[node][chosen_[index]];
      most = std::max(most, near_[count_ * nodes_ + node] = std::max(left, 1e-6f));
    }
    return most;
  }

  int queries_, deep_, nodes_;
  const uint8_t* allowed_;
  const uint8_t* classes_;
  std::vector<float> mask_, high_;
  std::vector<int> chosen_;
  std::vector<float> near_, taller_;
  std::vector<Floats> scores_;
  float floor_ = 0.0f, ground_ = 0.0f;
  int count_ = 0;
  bool rest_ = false;
};

}  // namespace

// values: (h, Q, w) scores; allowed, classes: (Q,); labels, confidence: (height, width). Where the
// least probability of a label is negative, none is given up.
extern "C" void decode(const float* values, int queries, int width_of_cells, float scale,
                       const int32_t* row_cells, const float* row_weights, int row_patches,
                       int row_reach, const int32_t* column_cells, const float* column_weights,
                       int column_patches, int column_reach, const uint8_t* allowed,
                       const uint8_t* classes, float least, int height, int width,
                       uint8_t* labels, float* confidence) {
  const Cut down{row_cells, row_weights, row_patches, row_reach};
  const Cut across{column_cells, column_weights, column_patches, column_reach};
  const int nodes = down.reach * across.reach, deep = padded(queries);
  Rows rows(values, queries, width_of_cells, scale, down.reach);
  Patch patch(queries, nodes, across.reach, allowed, classes);
  std::vector<const float*> row_logs(down.reach), row_shares(down.reach), logs(nodes),
      shares(nodes);
  for (int y = 0; y < down.patches; ++y) {
    rows.need(down.cells + y * down.reach, down.reach, row_logs.data(), row_shares.data());
    const float* row_weight = down.weights + static_cast<size_t>(y) * down.reach * SIDE;
    const int tall = std::min(SIDE, height - y * SIDE);
    for (int x = 0; x < across.patches; ++x) {
      const int32_t* cells = across.cells + x * across.reach;
      const float* weight = across.weights + static_cast<size_t>(x) * across.reach * SIDE;
      for (int column = 0; column < across.reach; ++column) {
        const size_t place = static_cast<size_t>(cells[column]) * deep;
        for (int row = 0; row < down.reach; ++row) {
          logs[row * across.reach + column] = row_logs[row] + place;
          shares[row * across.reach + column] = row_shares[row] + place;
        }
      }
      patch.look(logs.data());
      const int broad = std::min(SIDE, width - x * SIDE);
      const size_t corner = static_cast<size_t>(y) * SIDE * width + x * SIDE;
      for (bool exact : {false, true}) {
        patch.choose(logs.data(), shares.data(), exact);
        patch.stretch(row_weight, down.reach, across.reach);
        float gap = 1.0f;
        for (int row = 0; row < tall; ++row) {
          const size_t place = corner + static_cast<size_t>(row) * width;
          if (broad == SIDE) {
            patch.decide(row, weight, across.reach, labels + place, confidence + place);
          } else {
            uint8_t line[SIDE];
            float sure[SIDE];
            patch.decide(row, weight, across.reach, line, sure);
            std::copy_n(line, broad, labels + place);
            std::copy_n(sure, broad, confidence + place);
          }
          for (int pixel = 0; least >= 0.0f && pixel < broad; ++pixel)
            gap = std::min(gap, std::fabs(confidence[place + pixel] - least));
        }
        if (patch.whole() || gap > NEAR) break;
      }
    }
  }
}

// hls::vector for C simulation: as much of Vitis's class of this name as the sources use.
//
// Vitis aligns a vector to its size; this one does not, so that memory may start anywhere.
#pragma once

#include <cstddef>

namespace hls {

template <class Item, std::size_t Size>
class vector {
  public:
    Item& operator[](std::size_t index) { return items_[index]; }
    const Item& operator[](std::size_t index) const { return items_[index]; }

  private:
    Item items_[Size];
};

}  // namespace hls
